"""Ctrl-C and termination: noted when they come, raised where that is safe, and never lost.

Python raises KeyboardInterrupt wherever the main thread is: in a `__del__`, a weakref's callback or a C library's
callback it is printed and gone, in an import it may come out as an ImportError, in a method's `except BaseException` it
is swallowed. So a signal is also noted here; whoever runs cells asks `pending()`, and while nobody has `answered()` it
is raised again every second.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

AGAIN_SECONDS = 1.0
"""After how long an interruption that nobody has answered is raised again."""
TOGETHER_SECONDS = 0.5
"""Signals this close are one: `timeout`, and programs that pass Ctrl-C on, send it to a process and to its group."""
COMMAND_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What ends a command: Ctrl-C, a scheduler, a closed terminal."""
SHOW_CURSOR = b"\x1b[?25h"


class _State:
    """What is known of interruptions in this process: the signal that came, and how many blocks hold it back."""

    came: int | None = None
    since: float = 0.0
    answered: bool = False
    held: int = 0
    listening: bool = False
    exits: bool = False
    handlers: dict[int, Any]  # Any: what signal.signal() gives back; the handlers that were there before

    def __init__(self) -> None:
        self.handlers = {}


_state = _State()


def pending() -> bool:
    """Whether an interruption has come, answered or not."""
    return _state.came is not None


def exit_code() -> int:
    """The exit code of an interrupted command, 128 and the signal: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_state.came or signal.SIGINT)


def note(signum: int = signal.SIGINT) -> None:
    """Notes an interruption that came without a signal."""
    _state.came = _state.came or signum


def check() -> None:
    """Raises KeyboardInterrupt where an interruption has come that nobody has answered: a safe point."""
    if pending() and not _state.answered and not _state.held:
        raise KeyboardInterrupt


def answered() -> None:
    """Says that the interruption is being acted on: it is not raised again."""
    _state.answered = True
    if hasattr(signal, "SIGALRM") and signal.SIGALRM in _state.handlers:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, _state.handlers.pop(signal.SIGALRM))


@contextmanager
def held() -> Iterator[None]:
    """A block in which an interruption is noted but not raised; it is raised at the block's end."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
    check()


@contextmanager
def listening(signals: Sequence[int] = (signal.SIGINT,), exits: bool = False) -> Iterator[None]:
    """Listens to signals for as long as the block runs; inside another such block, the other one does.

    `exits`: the first signal interrupts, the second ends the process at once. A signal that is ignored (as of a command
    that a shell put into the background) stays ignored.
    """
    if _state.listening:
        yield
        return
    if threading.current_thread() is threading.main_thread():  # no other can listen
        _listen(signals, exits)
    try:
        yield
    finally:
        answered()
        for signum, handler in _state.handlers.items():
            signal.signal(signum, handler)
        _forget()


def stop_listening() -> None:
    """Lets signals pass unheard from now on, where this process listens: its work is done."""
    answered()
    for signum in _state.handlers:
        signal.signal(signum, signal.SIG_IGN)
    _state.handlers.clear()


def listen_in_worker() -> None:
    """In a worker process, forked or not, for good: Ctrl-C is the parent's to answer, SIGTERM ends the worker."""
    _forget()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _listen((signal.SIGTERM,), exits=True)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, COMMAND_SIGNALS)


@contextmanager
def blocked() -> Iterator[None]:
    """Holds interruptions back, and keeps them from processes that the block starts until these listen themselves."""
    with held():
        if not hasattr(signal, "pthread_sigmask"):
            yield
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, COMMAND_SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_forked_child() -> None:
    """In any process that was forked from one that listens, of some library: the signals end it, without a word."""
    if _state.listening:
        for signum in _state.handlers:
            signal.signal(signum, signal.SIG_DFL)
        _forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


def _listen(signals: Sequence[int], exits: bool) -> None:
    _state.listening, _state.exits = True, exits
    for signum in signals:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            _state.handlers[signum] = signal.signal(signum, _come) or signal.SIG_DFL


def _forget() -> None:
    global _state
    _state = _State()


def _come(signum: int, _: FrameType | None) -> None:
    if _state.came is None:
        _state.came, _state.since = signum, time.monotonic()
    elif _state.exits and time.monotonic() - _state.since > TOGETHER_SECONDS:
        _leave()
    _state.answered = False
    if hasattr(signal, "SIGALRM") and signal.SIGALRM not in _state.handlers:
        _state.handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, _again) or signal.SIG_DFL
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    check()


def _again(_: int, __: FrameType | None) -> None:
    check()


def end_children() -> None:
    """Ends processes that were started with multiprocessing and would outlive this one."""
    processes = sys.modules.get("multiprocessing")  # without it there are none
    for child in processes.active_children() if processes else ():
        with suppress(Exception):
            child.terminate()


def _leave() -> None:
    """Ends the process without another word."""
    end_children()
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, SHOW_CURSOR)
    os._exit(exit_code())
