"""Claims of cells at S3: an object per claim, which its holder renews, and which others may take once it is old.

S3 writes an object only if it is not there, or only over the version that was looked at, so of several processes one
gets a cell. Ages are by the server's clock alone. A claim whose process was killed ends after `EXPIRE_SECONDS`; on the
same machine it is seen at once that the process is gone. A holder that was suspended for longer loses its claim, and
its cell may then run twice: both write the same record, whole.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import platform
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.records.urls import NoConditions, UrlFolder

RENEW_SECONDS = 20.0
"""Seconds between two renewals of a claim."""
EXPIRE_SECONDS = 120.0
"""Age after which a claim that was not renewed counts no more: several renewals may fail before."""

LOCKS = "locks"
"""The folder of the claims."""

log = logging.getLogger("tunefront")


@dataclass(frozen=True)
class Process:
    """A process, so that others on its machine can see whether it still runs; empty texts where that is not known."""

    machine: str
    number: int
    started: str

    @classmethod
    def own(cls) -> Process:
        """This process."""
        return cls(_machine(), os.getpid(), _start_of(os.getpid()))

    @property
    def is_gone(self) -> bool:
        """Whether it ran on this machine and has ended."""
        here = bool(self.machine and self.started) and self.machine == _machine()
        return here and _start_of(self.number) != self.started


@dataclass
class Lease:
    """The claim of a cell, renewed in the background until `end`."""

    folder: UrlFolder
    key: str
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self._version = ""
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, daemon=True, name=f"claim of {self.key[:12]}")

    @property
    def _name(self) -> str:
        return _name(self.key)

    @property
    def _content(self) -> bytes:
        return json.dumps({"holder": self.holder, "process": vars(Process.own())}).encode()

    def take(self) -> bool:
        """Whether the cell is free, or its claim has ended; it is then claimed, and renewed from now on."""
        version = self.folder.create(self._name, self._content) or self._take_over()
        if version is None:
            return False
        self._version = version
        self._renewing.start()
        return True

    def end(self) -> None:
        """Ends the claim; one that cannot be deleted ends by its age."""
        self._ended.set()
        self._renewing.join()
        try:
            if _read(self.folder, self.key).get("holder") == self.holder:
                self.folder.remove(self._name)
        except UserError as error:
            log.debug("a claim was not deleted: %s", error)

    def _take_over(self) -> str | None:
        """Takes the claim if it has ended; its version, None if another process has it."""
        state = self.folder.state(self._name)
        if state is None:  # ended just now: the next try may get it
            return None
        (version, age), claim = state, _read(self.folder, self.key)
        if claim.get("holder") == self.holder:  # it was written, and the server's answer was lost
            return version
        if age < EXPIRE_SECONDS and not _process_of(claim).is_gone:
            return None
        return self.folder.replace(self._name, self._content, version) or self._known_version()

    def _known_version(self) -> str | None:
        """The version of the claim as it is, None if another process has it."""
        state = self.folder.state(self._name)  # before the holder: a claim never comes back to a holder that lost it
        mine = _read(self.folder, self.key).get("holder") == self.holder
        return state[0] if state is not None and mine else None

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                if not self._write_again():
                    log.warning("another process has taken a cell over from this one, which was halted; it runs twice")
                    return
            except UserError as error:
                log.debug("a claim was not renewed: %s", error)

    def _write_again(self) -> bool:
        """Writes the claim again unless another process has it; whether it is still this one's."""
        version = self.folder.replace(self._name, self._content, self._version)
        if version is None:
            known = self._known_version()  # its version is another one if the server's answer was lost
            version = known or self.folder.create(self._name, self._content)  # it may have been deleted
        self._version = version or self._version
        return version is not None


@functools.cache
def _warn_of_no_claims(why: str) -> None:
    log.warning("%s: if several commands write to it at the same time, a cell may run twice", why)


@functools.cache
def _why_unclaimed(url: str) -> str | None:
    """Why the server of a URL can hold no claim, in words; None if it can: some do not know conditions of a write, and
    others take them and write nevertheless."""
    folder, name = UrlFolder(url), f"{LOCKS}/.probe-{uuid.uuid4().hex}"
    try:
        twice = [folder.create(name, b"") for _ in range(2)]
    except NoConditions as error:
        return str(error)
    with suppress(UserError):  # whoever may only add files, may claim
        folder.remove(name)
    return None if None in twice else f"{url} has a server that does not keep to the conditions of a write"


@contextmanager
def leased(folder: UrlFolder, key: str) -> Iterator[bool]:
    """True if this process now holds the cell, False if another does."""
    if (why := _why_unclaimed(folder.url)) is not None:
        _warn_of_no_claims(why)
        yield True
        return
    lease = Lease(folder, key)
    mine = lease.take()
    if not mine:
        yield False
        return
    try:
        yield True
    finally:
        lease.end()


def claimed(folder: UrlFolder) -> list[str]:
    """The keys of the cells that a process holds."""
    names = [name for name in folder.listing(LOCKS) if name.endswith(".json")]
    claims = {name: _parsed(content) for name, content in folder.read_many([f"{LOCKS}/{name}" for name in names])}
    left = [name for name, claim in claims.items() if not _process_of(claim).is_gone]
    states = zip(left, folder.at_once(folder.state, left), strict=True)
    young = [name for name, state in states if state is not None and state[1] < EXPIRE_SECONDS]
    return [name.removeprefix(f"{LOCKS}/").removesuffix(".json") for name in young]


def _name(key: str) -> str:
    return f"{LOCKS}/{key}.json"


def _read(folder: UrlFolder, key: str) -> dict[str, object]:
    """What a claim says; nothing if it is not there."""
    ((_, content),) = folder.read_many([_name(key)])
    if isinstance(content, PermissionError):
        raise UserError(f"{folder / _name(key)} cannot be read ({content}).") from content
    return _parsed(content)


def _parsed(text: bytes | OSError) -> dict[str, object]:
    if isinstance(text, OSError):
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _process_of(claim: Mapping[str, object]) -> Process:
    """The process of a claim; one that is not known to be gone if the claim does not say."""
    process = claim.get("process")
    try:
        machine, number, started = (process[name] for name in ("machine", "number", "started"))  # type: ignore[index]
        return Process(str(machine), int(number), str(started))
    except (TypeError, ValueError, KeyError, OverflowError):
        return Process("", 0, "")


def _machine() -> str:
    """This machine, boot and container; empty where processes cannot be told apart."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except (OSError, ValueError):
        return ""


def _start_of(number: int) -> str:
    """When a process of this machine started, in ticks since the boot; empty if it does not run or this is not
    known."""
    try:
        state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
    fields = state.rpartition(")")[2].split()
    return "" if not fields or fields[0] in "ZX" else fields[19]
