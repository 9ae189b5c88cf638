"""Faults of the machine under `tunefront run`: each is named in words, with the documented exit code, and the same
command completes once it is mended."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.torture import forked, machine
from tests.torture.figures import Figures
from tests.torture.stores import Watch
from tests.torture.world import Share, World

PART, SUITE = "faults", "few"
MIDWAY = 3
"""The most records that are written before something happens in the middle."""
DOCUMENTED = (0, 1, 2, 128 + signal.SIGINT, 128 + signal.SIGTERM)
REPEATS = 2
"""How often the command may have to be repeated: a cell that failed in the first repetition is tried again."""


class Place(NamedTuple):
    """Where a command under a fault writes, and what it reads; all may be spoilt."""

    out: Path
    cache: Path
    model: Path
    task: Path
    generator: random.Random
    records: int
    """So many records are written before a fault that comes in the middle."""


Before = Callable[[], object]
Change = Callable[[Place], object]


def nothing(*_: object) -> None:
    """No change."""


@dataclass(frozen=True)
class Fault:
    """A fault: what a command does in its own process first, what is done to the folders before it starts, in the
    middle (once some records are written) and to mend it; the exit codes that it may end in, and the words of which
    one must be said if the code is not 0."""

    codes: tuple[int, ...]
    words: str = ""
    before: Callable[[Place], Before] = lambda _: nothing
    spoil: Change = nothing
    midway: Change | None = None
    mend: Change = nothing
    needs: Callable[[], bool] = lambda: True
    signum: int = 0
    workers: tuple[int, ...] = (1, 2)


def limit(name: str, *values: int) -> Callable[[Place], Before]:
    """A limit on the process, one of these values."""
    kind = getattr(resource, name)
    return lambda place: partial(_limit, kind, place.generator.choice(values))


def _limit(kind: int, value: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does at its start
    if kind == resource.RLIMIT_AS:
        value += machine.mapped_bytes()
    resource.setrlimit(kind, (value, value))


def failing(module: Any, name: str, code: int, path: str = "") -> Callable[[Place], Before]:
    """A system call that fails with an error from some call on."""

    def patched(place: Place) -> Before:
        real, left = getattr(module, name), [place.generator.randint(0, 20)]

        def call(*arguments: Any, **named: Any) -> Any:
            if path in str(arguments[:1]):
                left[0] -= 1
            if left[0] < 0 and path in str(arguments[:1]):
                raise OSError(code, os.strerror(code))
            return real(*arguments, **named)

        return lambda: setattr(module, name, call)

    return patched


def without_locks(code: int) -> Callable[[Place], Before]:
    """File locks that do not work, as on some network file systems."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return lambda _: lambda: setattr(fcntl, "flock", refuse)


def clock(seconds: float) -> Callable[[Place], Before]:
    """A clock that is so many seconds off: those of Python and of new files, not of what is there."""
    real = time.time
    return lambda _: lambda: setattr(time, "time", lambda: real() + seconds)


def touched(seconds: float) -> Change:
    """Files whose times are so many seconds off."""

    def touch(place: Place) -> None:
        for path in place.out.rglob("*"):
            os.utime(path, (time.time() + seconds,) * 2)

    return touch


def full(of: str, kilobytes: Sequence[int]) -> dict[str, Change]:
    """A folder on a small disk, on which there is room again later."""
    return {
        "spoil": lambda place: machine.mount(getattr(place, of), place.generator.choice(kilobytes)),
        "mend": lambda place: machine.remount(getattr(place, of), "size=100m"),
    }


def mode(path: Path, bits: int) -> None:
    """Permissions of a folder, which is made if it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(bits)


def unreadable_record(place: Place) -> None:
    path = next(place.out.glob("records/[!.]*.json"))
    path.chmod(0)


def readable_again(place: Place) -> None:
    for path in place.out.rglob("*"):
        path.chmod(0o755)


def removed(path: Path) -> None:
    """Removes a folder to which something may still be written."""
    for _ in range(20):
        with suppress(OSError):
            shutil.rmtree(path)
            return


def hidden(path: Path) -> None:
    if path.exists():
        path.rename(path.with_name(f"{path.name}.hidden"))


def shown(path: Path) -> None:
    if not path.exists():
        path.with_name(f"{path.name}.hidden").rename(path)


NO_ROOM = r"disk .*is full|No space left|free some space"
PLAIN = machine.obey_permissions
FAULTS: dict[str, Fault] = {
    "disk full, results": Fault(
        (0, 1), NO_ROOM, **full("out", (0, 8, 40, 80, 160, 320, 640)), needs=machine.can_mount
    ),  # with 0 if only the report has no room
    "disk full, cache": Fault((0, 1), NO_ROOM, **full("cache", (0, 4, 16)), needs=machine.can_mount),
    "disk full, by the call": Fault((0, 1), NO_ROOM, failing(os, "fsync", errno.ENOSPC)),
    "quota": Fault((0, 1), r"disk .*is full|quota", failing(os, "fsync", errno.EDQUOT)),
    "broken disk": Fault((0, 1, 2), r"Input/output error", failing(os, "replace", errno.EIO)),
    "stale network folder": Fault((0, 1, 2), r"[Ss]tale", failing(os, "replace", errno.ESTALE)),
    "limit of file size": Fault(  # of those too to which it prints
        (1, 2), r"ulimit -f|too large", limit("RLIMIT_FSIZE", 1000, 4000, 6000, 20_000)
    ),
    "limit of descriptors": Fault(
        (0, 1, 2), r"ulimit -n|[Tt]oo many open files", limit("RLIMIT_NOFILE", 8, 12, 20, 40)
    ),
    "limit of processes": Fault(
        (0, 1, 2),
        r"no worker process could be started|only \d+ worker|new thread|further thread|ulimit",
        machine.other_user(lambda: _limit(resource.RLIMIT_NPROC, 1)),
        needs=machine.can_change_user,
    ),
    "limit of memory": Fault(  # oneDNN says that it could not create a primitive; libraries in Rust abort, and say so
        (0, 1, 2, -signal.SIGABRT),
        r"memory|could not be started|could not create a primitive|new thread|further thread",
        limit("RLIMIT_AS", 2**20, 2**23, 2**25, 2**26, 2**27),
    ),
    "read-only file system": Fault(
        (2,),
        r"Read-only file system",
        spoil=lambda place: (machine.mount(place.out, 10_000), machine.remount(place.out, "ro")),
        mend=lambda place: machine.remount(place.out, "rw"),
        needs=machine.can_mount,
    ),
    "read-only midway": Fault(
        (0, 1, 2),
        r"Read-only file system",
        spoil=lambda place: machine.mount(place.out, 10_000),
        midway=lambda place: machine.remount_when_idle(place.out, "ro"),
        mend=lambda place: machine.remount(place.out, "rw"),
        needs=machine.can_mount,
    ),
    "folder may not be written": Fault(
        (2,), r"Permission denied", PLAIN, spoil=lambda place: mode(place.out, 0o500), mend=readable_again
    ),
    "records may not be written": Fault(
        (2,),
        r"Permission denied",
        PLAIN,
        spoil=lambda place: mode(place.out / "records", 0o500),
        mend=readable_again,
    ),
    "cache may not be written": Fault(
        (0, 2),
        r"Permission denied",
        PLAIN,
        spoil=lambda place: mode(place.cache, 0o500),
        mend=lambda place: mode(place.cache, 0o755),
    ),
    "permissions taken midway": Fault(
        (0, 1, 2),
        r"Permission denied",
        PLAIN,
        midway=lambda place: mode(place.out / "records", 0o500),
        mend=readable_again,
    ),
    "a record may not be read": Fault(
        (2,),
        r"Permission denied",
        PLAIN,
        midway=unreadable_record,
        signum=signal.SIGKILL,
        mend=readable_again,
    ),
    "clock set back": Fault((0,), "", clock(-30 * 365 * 86400.0)),
    "clock set forward": Fault((0,), "", clock(30 * 365 * 86400.0)),
    "clock before 1970": Fault((0,), "", clock(-60 * 365 * 86400.0)),
    "files from the future": Fault((0, 1), "", midway=touched(30 * 365 * 86400.0)),
    "files from 1970": Fault((0, 1), "", midway=touched(-56 * 365 * 86400.0)),
    "results removed midway": Fault((0, 1, 2), "", midway=lambda place: removed(place.out)),
    "cache removed midway": Fault((0, 1, 2), "", midway=lambda place: removed(place.cache)),
    "model removed midway": Fault(
        (0, 1, 2), "", midway=lambda place: hidden(place.model), mend=lambda place: shown(place.model)
    ),
    "task removed midway": Fault(
        (0, 1, 2), "", midway=lambda place: hidden(place.task), mend=lambda place: shown(place.task)
    ),
    "model is not there": Fault(
        (2,), r"bert", spoil=lambda place: hidden(place.model), mend=lambda place: shown(place.model)
    ),
    "locks are not there": Fault((0,), "", without_locks(errno.ENOLCK)),
    "locks are not known": Fault((0,), "", without_locks(errno.ENOSYS)),
    "locks may not be written": Fault(
        (0, 1, 2),
        r"Permission denied",
        PLAIN,
        midway=lambda place: mode(place.out / "locks", 0o500),
        mend=readable_again,
    ),
    "a file instead of the folder": Fault(
        (2,),
        r"is a file where a folder should be",
        spoil=lambda place: place.out.write_text(""),
        mend=lambda place: place.out.unlink(),
    ),
    "links in a circle": Fault(
        (2,),
        r"symbolic links|circle",
        spoil=lambda place: place.out.symlink_to(place.out),
        mend=lambda place: place.out.unlink(),
    ),
    "output cannot be printed": Fault(
        (0, 1),
        r"could not be printed|No space",
        lambda _: lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), 1),
        needs=Path("/dev/full").exists,
    ),
    "no place for temporary files": Fault(
        (0,), "", lambda _: lambda: os.environ.update(TMPDIR="/nowhere", TEMP="/nowhere", TMP="/nowhere")
    ),
    "interrupted": Fault((0, 130), r"Stopped", midway=nothing, signum=signal.SIGINT),
    "terminated": Fault((0, 143), r"Stopped", midway=nothing, signum=signal.SIGTERM),
    "terminal closed": Fault((0, 129), r"Stopped", midway=nothing, signum=signal.SIGHUP),
}


def drive(world: World, share: Share) -> Figures:
    """Faults one after another, each in a folder of its own."""
    generator, figures = random.Random(share.seed), Figures()
    names = list(FAULTS)[share.number :: share.of]
    generator.shuffle(names)
    machine.own_mounts()
    number = 0
    while share.goes_on(number):
        name = names[number % len(names)]
        if FAULTS[name].needs():
            _try(world, name, generator, share.engine, share.folder / str(number), figures)
        else:
            figures.add(PART, name, skipped=1)
        number += 1
    return figures


def _try(
    world: World, name: str, generator: random.Random, engine: Sequence[str], folder: Path, figures: Figures
) -> None:
    """One fault: the command under it, then the same command without."""
    fault = FAULTS[name]
    figures.add(PART, name, tried=1)
    own = World(folder, world.expected)
    for part in ("bert", "toy"):
        shutil.copytree(world.root / part, folder / part)
    text = world.suite(SUITE).read_text("utf-8").replace(str(world.root), str(folder))
    own.suite(SUITE).write_text(text, encoding="utf-8")
    out, cache = folder / "out" / "results", folder / "caches" / "own"
    out.parent.mkdir()
    cache.mkdir(parents=True)
    place = Place(out, cache, folder / "bert", folder / "toy", generator, generator.randint(1, MIDWAY))
    watch = Watch(out, PART, name, figures)
    words = own.command(SUITE, out, workers=generator.choice(fault.workers), engine=engine)
    before, printed = fault.before(place), folder / "printed"

    def prepared() -> None:
        os.environ["TUNEFRONT_CACHE"] = str(cache)
        before()

    fault.spoil(place)
    running = forked.start(words, printed, prepared)
    with forked.stopping(running):
        if fault.midway is not None:
            _wait(running, out, place.records)
            fault.midway(place)
        if fault.signum:
            running.kill(fault.signum)
            if fault.signum == signal.SIGKILL:
                running.end()
                running = forked.start(words, printed, prepared)
        ended = running.end()
        running.kill()
    figures.judge(PART, name, ended)
    if ended.code not in fault.codes and not ended.hung:
        figures.fault(PART, name, "codes", f"exit code {ended.code}: {ended.said[-1500:]}")
    if ended.code and fault.words and not re.search(fault.words, ended.said):
        figures.fault(PART, name, "words", f"/{fault.words}/ is not said: {ended.said[-1500:]}")
    if ended.code == 2 and len(paragraphs(ended.stderr)) != 1:
        figures.fault(PART, name, "words", f"not one paragraph: {ended.stderr[-1500:]}")
    figures.add(PART, name, **{f"ended with {ended.code}": 1})
    fault.mend(place)
    for _ in range(REPEATS):
        again = forked.run(words, printed, lambda: os.environ.update(TUNEFRONT_CACHE=str(cache)))
        figures.judge(PART, name, again)
        if again.code == 0:
            break
    else:
        figures.fault(PART, name, "codes", f"exit code {again.code} when it is mended: {again.said[-1500:]}")
    watch.end(own, SUITE, without=("task", "backbone"))


def paragraphs(stderr: str) -> list[str]:
    """The errors in what a command printed."""
    return [line for line in stderr.splitlines() if line.startswith("error: ")]


def _wait(running: forked.Running, out: Path, records: int) -> None:
    """Waits until so many records are there."""
    while not running.poll() and len(list(out.glob("records/[!.]*.json"))) < records:
        time.sleep(0.002)
