"""What a test may do to the machine under a command: small disks, permissions that root obeys too, another user."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NEW_MOUNTS = 0x00020000
_OVERRIDE, _READ_SEARCH = 1, 2
_KEEP_CAPABILITIES = 8
_CAPABILITIES_3 = 0x20080522
OTHER_USER = 54_321
"""A user that nobody is, for limits that do not hold for root."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def own_mounts() -> None:
    """From now on what this process and its children mount is seen by them alone, and is gone with them."""
    if sys.platform == "linux" and os.geteuid() == 0 and _libc().unshare(_NEW_MOUNTS) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True)


@functools.cache
def can_mount() -> bool:
    """Whether this process may mount a disk."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            mount(Path(folder), 64)
        except (OSError, subprocess.CalledProcessError):
            return False
        subprocess.run(["umount", folder], check=True)
        return True


def mount(folder: Path, kilobytes: int) -> None:
    """Mounts a disk of this size on a folder; one of 0 has a single page."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={max(4, kilobytes)}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)
    if kilobytes == 0:
        folder.joinpath("filler").write_bytes(bytes(4096))


def remount(folder: Path, options: str) -> None:
    """Changes a mounted disk: `ro`, `rw`, `size=100m`."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True, capture_output=True)


def remount_when_idle(folder: Path, options: str) -> None:
    """The same, as soon as nobody has a file open for writing there."""
    for _ in range(2000):
        try:
            return remount(folder, options)
        except subprocess.CalledProcessError:
            time.sleep(0.005)


def mapped_bytes() -> int:
    """The address space of this process."""
    return int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * os.sysconf("SC_PAGE_SIZE")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def obey_permissions(_: object = None) -> Callable[[], None]:
    """The command obeys permissions, also if it runs as root."""
    return lambda: _keep_capabilities(~(1 << _OVERRIDE | 1 << _READ_SEARCH))


def _keep_capabilities(kept: int) -> None:
    """Gives up what root may do, but for these."""
    if sys.platform != "linux":
        return
    libc, header, sets = _libc(), _Header(_CAPABILITIES_3, 0), (_Sets * 2)()
    _check(libc.capget(ctypes.byref(header), sets))
    sets[0].permitted &= kept
    for each in sets:
        each.effective = each.permitted
    _check(libc.capset(ctypes.byref(header), sets))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@functools.cache
def can_change_user() -> bool:
    """Whether a command can run as another user who still reads and writes everything."""
    return sys.platform == "linux" and os.geteuid() == 0


def other_user(then: Callable[[], object]) -> Callable[[Any], Callable[[], None]]:
    """The command runs as another user, who may read and write everything; `then` is done as that user."""

    def change() -> None:
        _check(_libc().prctl(_KEEP_CAPABILITIES, 1, 0, 0, 0))
        os.setresuid(OTHER_USER, OTHER_USER, OTHER_USER)
        _keep_capabilities(1 << _OVERRIDE | 1 << _READ_SEARCH)
        then()

    return lambda _: change
