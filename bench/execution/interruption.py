"""Ctrl-C and termination: recorded when they arrive, raised where it is safe, and never lost.

Python raises KeyboardInterrupt wherever the main thread is: in a `__del__`, a weakref callback or a C callback it is
only printed, in an import it may become an ImportError, and a method's `except BaseException` swallows it. So a signal
is also recorded here; code that runs cells checks `pending()`, and until `answered()` is called it is raised again
every second.
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
"""Interval after which an unanswered interruption is raised again."""
TOGETHER_SECONDS = 0.5
"""Signals closer than this count as one: `timeout`, and programs that forward Ctrl-C, send it to a process and to its
group."""
COMMAND_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command: from Ctrl-C, a scheduler, a closed terminal."""
SHOW_CURSOR = b"\x1b[?25h"


class _State:
    """The state of interruptions in this process: the signal received, and how many blocks defer it."""

    received: int | None = None
    since: float = 0.0
    answered: bool = False
    deferring: int = 0
    listening: bool = False
    exits: bool = False
    handlers: dict[int, Any]  # Any: as returned by signal.signal(); the previous handlers

    def __init__(self) -> None:
        self.handlers = {}


_state = _State()


def pending() -> bool:
    """Whether an interruption has arrived, answered or not."""
    return _state.received is not None


def exit_code() -> int:
    """The exit code of an interrupted command, 128 and the signal: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_state.received or signal.SIGINT)


def note(signum: int = signal.SIGINT) -> None:
    """Records an interruption that arrived without a signal."""
    _state.received = _state.received or signum


def check() -> None:
    """A safe point: raises KeyboardInterrupt if an interruption is pending and not answered."""
    if pending() and not _state.answered and not _state.deferring:
        raise KeyboardInterrupt


def mark_answered() -> None:
    """Marks the interruption as handled, so that it is not raised again."""
    _state.answered = True
    if hasattr(signal, "SIGALRM") and signal.SIGALRM in _state.handlers:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, _state.handlers.pop(signal.SIGALRM))


@contextmanager
def deferred() -> Iterator[None]:
    """Records an interruption inside the block, and raises it at the block's end."""
    _state.deferring += 1
    try:
        yield
    finally:
        _state.deferring -= 1
    check()


@contextmanager
def listening(signals: Sequence[int] = (signal.SIGINT,), exits: bool = False) -> Iterator[None]:
    """Handles signals while the block runs; inside another such block, the outer one does.

    `exits`: the first signal interrupts, the second ends the process at once. An ignored signal stays ignored, as for a
    command that a shell started in the background.
    """
    if _state.listening:
        yield
        return
    if threading.current_thread() is threading.main_thread():  # only the main thread can set handlers
        _listen(signals, exits)
    try:
        yield
    finally:
        mark_answered()
        for signum, handler in _state.handlers.items():
            signal.signal(signum, handler)
        _forget()


def stop_listening() -> None:
    """Ignores the handled signals from now on, because the work is finished."""
    mark_answered()
    for signum in _state.handlers:
        signal.signal(signum, signal.SIG_IGN)
    _state.handlers.clear()


def listen_in_worker() -> None:
    """Sets the handlers of a worker process, forked or not: Ctrl-C is left to the parent, SIGTERM ends the worker."""
    _forget()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _listen((signal.SIGTERM,), exits=True)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, COMMAND_SIGNALS)


@contextmanager
def blocked() -> Iterator[None]:
    """Defers interruptions, and blocks the signals in processes that the block starts until they set their handlers."""
    with deferred():
        if not hasattr(signal, "pthread_sigmask"):
            yield
            return
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, COMMAND_SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_forked_child() -> None:
    """In a process that a library forks from this one, signals end the process silently."""
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
            _state.handlers[signum] = signal.signal(signum, _receive) or signal.SIG_DFL


def _forget() -> None:
    global _state
    _state = _State()


def _receive(signum: int, _: FrameType | None) -> None:
    if _state.received is None:
        _state.received, _state.since = signum, time.monotonic()
    elif _state.exits and time.monotonic() - _state.since > TOGETHER_SECONDS:
        _exit_now()
    _state.answered = False
    if hasattr(signal, "SIGALRM") and signal.SIGALRM not in _state.handlers:
        _state.handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, _raise_again) or signal.SIG_DFL
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    check()


def _raise_again(_: int, __: FrameType | None) -> None:
    check()


def end_children() -> None:
    """Ends child processes of multiprocessing that would outlive this one."""
    multiprocessing = sys.modules.get("multiprocessing")  # not imported: no children
    for child in multiprocessing.active_children() if multiprocessing else ():
        with suppress(Exception):
            child.terminate()


def _exit_now() -> None:
    """Ends the process at once, silently."""
    end_children()
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, SHOW_CURSOR)
    os._exit(exit_code())
