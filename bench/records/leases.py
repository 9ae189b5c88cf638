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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.records.urls import NoConditions, UrlFolder

RENEW_SECONDS = 20.0
"""Seconds between two renewals of a claim."""
EXPIRE_SECONDS = 120.0
"""Age after which a claim that was not renewed counts no more: several renewals may fail before."""

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
        return bool(self.started) and self.machine == _machine() and _start_of(self.number) != self.started


@dataclass
class Lease:
    """The claim of a cell, renewed in the background until `end`."""

    folder: UrlFolder
    key: str
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
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
        if not self.folder.create(self._name, self._content):
            state = self.folder.state(self._name)
            if state is None:  # ended just now: the next try may get it
                return False
            version, age = state
            if age < EXPIRE_SECONDS and not _process_of(self.folder, self.key).is_gone:
                return False
            if not self.folder.replace(self._name, self._content, version):
                return False
        self._renewing.start()
        return True

    def end(self) -> None:
        """Ends the claim; one that cannot be deleted ends by its age."""
        self._ended.set()
        self._renewing.join()
        try:
            if _holder_of(self.folder, self.key) == self.holder:
                self.folder.remove(self._name)
        except UserError as error:
            log.debug("a claim was not deleted: %s", error)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                if _holder_of(self.folder, self.key) != self.holder:
                    log.warning("another process has taken a cell over from this one, which was halted; it runs twice")
                    return
                self.folder.write({self._name: self._content})
            except UserError as error:
                log.debug("a claim was not renewed: %s", error)


@functools.cache
def _warn_of_no_claims(why: str) -> None:
    log.warning("%s: if several commands write to it at the same time, a cell may run twice", why)


@contextmanager
def leased(folder: UrlFolder, key: str) -> Iterator[bool]:
    """True if this process now holds the cell, False if another does."""
    lease = Lease(folder, key)
    try:
        mine = lease.take()
    except NoConditions as error:
        _warn_of_no_claims(str(error))
        yield True
        return
    if not mine:
        yield False
        return
    try:
        yield True
    finally:
        lease.end()


def claimed(folder: UrlFolder) -> list[str]:
    """The keys of the cells that a process holds."""
    keys = [name.removesuffix(".json") for name in folder.listing("locks") if name.endswith(".json")]
    states = {key: folder.state(_name(key)) for key in keys}
    young = [key for key, state in states.items() if state is not None and state[1] < EXPIRE_SECONDS]
    return [key for key in young if not _process_of(folder, key).is_gone]


def _name(key: str) -> str:
    return f"locks/{key}.json"


def _read(folder: UrlFolder, key: str) -> dict[str, object]:
    try:
        text = folder.read(_name(key))
    except FileNotFoundError:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _holder_of(folder: UrlFolder, key: str) -> object:
    return _read(folder, key).get("holder")


def _process_of(folder: UrlFolder, key: str) -> Process:
    """The process of a claim; one that is not known to be gone if the claim does not say."""
    process = _read(folder, key).get("process")
    try:
        machine, number, started = (process[name] for name in ("machine", "number", "started"))  # type: ignore[index]
        return Process(str(machine), int(number), str(started))
    except (TypeError, ValueError, KeyError):
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
