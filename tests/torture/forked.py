"""Commands in forked processes: this process imports everything once and never computes, so that a command starts in
milliseconds instead of seconds.

What a fork skips: the interpreter's start, the imports, and the interpreter's own shutdown. A process that has computed
with several threads must not be forked, so whatever computes runs in a child as well (`in_child`).
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import pkgutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from typing import Any, TypeVar

from tests import ROOT
from tunefront.bench.execution.identity import harness_fingerprint
from tunefront.bench.quiet import quiet_libraries

Result = TypeVar("Result")

LONGEST_SECONDS = 120.0
"""After which a command hangs: fifty times what one takes here."""
POLL_SECONDS = 0.002
PACKAGES = ("tunefront.bench", "tunefront.methods", "tunefront.reports")
LIBRARIES = (
    *("transformers.models.bert.modeling_bert", "transformers.models.gpt2.modeling_gpt2"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg", "plotly", "itables"),
    *("typst", "datasets", "evaluate", "pandas", "pyarrow.parquet", "sklearn.linear_model", "scipy.stats", "yaml"),
)
"""What the commands import on first use."""


def import_everything() -> None:
    """Imports what the commands need, and works out what is the same in all of them; forked processes then only
    compute."""
    quiet_libraries()
    for package in PACKAGES:
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            with suppress(ImportError):  # an optional package that is not installed
                importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)
    harness_fingerprint()  # half a second of reading sources
    gc.collect()
    gc.freeze()  # else the first collection in each fork copies all of it


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the signal that ended it; what it printed; whether it had to be
    killed because it hung."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    hung: bool = False

    @property
    def said(self) -> str:
        """All that it printed."""
        return self.stdout + self.stderr


@dataclass(eq=False)
class Running:
    """A command that runs in a process group of its own, and the files that it prints to."""

    pid: int
    printed: tuple[Path, Path]
    began: float
    status: int | None = None

    def poll(self) -> bool:
        """Whether it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def sleep(self, seconds: float) -> None:
        """Waits this long, or until it has ended."""
        end = time.monotonic() + seconds
        while not self.poll() and (left := end - time.monotonic()) > 0:
            time.sleep(min(POLL_SECONDS, left))

    def kill(self, signum: int = signal.SIGKILL, group: bool = True) -> None:
        """Sends a signal to its group or to the process alone; nothing if it has ended."""
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, signum)

    def end(self, within: float = LONGEST_SECONDS) -> Ended:
        """Waits for its end; one that takes longer than `within` seconds hangs and is killed."""
        end, hung = time.monotonic() + within, False
        while not self.poll():
            if time.monotonic() > end and not hung:
                hung = True
                self.kill()
            time.sleep(POLL_SECONDS)
        assert self.status is not None
        out, err = (path.read_bytes().decode(errors="replace") for path in self.printed)
        return Ended(os.waitstatus_to_exitcode(self.status), out, err, time.monotonic() - self.began, hung)


def start(arguments: Sequence[str], folder: Path, before: Callable[[], object] | None = None) -> Running:
    """Starts `tunefront` with these arguments in a fork of this process, in `folder`; `before` runs in the fork first
    and may limit or patch it."""
    printed = _printed(folder)
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become(arguments, folder, printed, before)
    with suppress(OSError):  # the child may have been first
        os.setpgid(pid, pid)
    return Running(pid, printed, began)


def start_fresh(arguments: Sequence[str], folder: Path) -> Running:
    """Starts `python -m tunefront` with these arguments as a new process, in `folder`."""
    printed = _printed(folder)
    began = time.monotonic()
    with printed[0].open("wb") as out, printed[1].open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "tunefront", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            process_group=0,
        )
    process.returncode = 0  # it is waited for by its pid
    return Running(process.pid, printed, began)


def run(arguments: Sequence[str], folder: Path, before: Callable[[], object] | None = None) -> Ended:
    """Runs `tunefront` with these arguments to its end; see `start`."""
    with stopping(start(arguments, folder, before)) as running:
        return running.end()


@contextmanager
def stopping(*commands: Running) -> Iterator[Running]:
    """Kills the commands at the end of the block, if they still run, and what they left of their groups."""
    try:
        yield commands[0]
    finally:
        for command in commands:
            command.kill()
            while not command.poll():
                time.sleep(POLL_SECONDS)


def _printed(folder: Path) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    printed = folder / ".stdout", folder / ".stderr"
    number = 0
    while any(path.exists() for path in printed):
        number += 1
        printed = folder / f".stdout{number}", folder / f".stderr{number}"
    for path in printed:
        path.touch()
    return printed


def _become(
    arguments: Sequence[str], folder: Path, printed: tuple[Path, Path], before: Callable[[], object] | None
) -> None:
    """Makes this forked process the command, and ends it."""
    code: object = 70
    try:
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for number, path in enumerate(printed, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
        os.closerange(3, 256)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["tunefront", *arguments]
        from tunefront.bench.cli.entry import main

        if before is not None:
            before()
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(bool(code)))


def in_child(act: Callable[[], Result]) -> Result:
    """The result of a function that runs in a fork of this process. Errors: RuntimeError with its traceback."""
    (result,) = in_children([act], 1)
    return result


def in_children(acts: Sequence[Callable[[], Result]], at_once: int) -> Iterator[Result]:
    """The results of functions that run in forks of this process, `at_once` at a time, in the order in which they end.
    Errors: RuntimeError with the traceback of the one that failed."""
    waiting, running = list(acts), dict[int, int]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                reader, pid = _fork(waiting.pop(0))
                running[reader] = pid
            for reader in wait_for_any(list(running)):
                pid = running.pop(reader)  # type: ignore[arg-type]
                with open(reader, "rb") as pipe:  # type: ignore[arg-type]
                    content = pipe.read()
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                kind, value = pickle.loads(content) if content else ("died", f"exit {status}")
                if kind != "result":
                    raise RuntimeError(value)
                yield value
    finally:
        for pid in running.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def _fork(act: Callable[[], Any]) -> tuple[int, int]:
    """Starts the function in a fork; the end of the pipe to read from, and the pid."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, pid
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its commands are stopped
        os.close(reader)
        try:
            answer: tuple[str, Any] = ("result", act())
        except BaseException:
            answer = ("failed", traceback.format_exc())
        with open(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
    finally:
        os._exit(0)


@contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables inside the block."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
