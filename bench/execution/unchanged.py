"""Restores the state of the process after a cell, so that the next cell finds it unchanged."""

from __future__ import annotations

import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

from tunefront.bench.execution import interruption

_SIGNALS = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}) if hasattr(signal, "SIGKILL") else ()
_STREAMS = ("stdin", "stdout", "stderr")


@contextmanager
def process_unchanged() -> Iterator[None]:
    """Restores, at the block's end, the state that a method can change: the working directory, the environment, the
    standard streams, signal handlers, random states, torch's defaults, threads and modes, warnings, logging, the
    garbage collector and Python's own hooks. Patches in libraries and running threads are not undone.
    """
    kinds = (_descriptors, _streams, _folder, _environment, _signals, _python, _messages, _random, _torch)
    restorers = [kind() for kind in kinds]
    try:
        yield
    finally:
        for restore in restorers:
            with suppress(Exception):  # one failure must not prevent the others
                restore()


Restore = Callable[[], None]


def _folder() -> Restore:
    try:
        before = os.getcwd()
    except OSError:  # it does not exist any more
        return lambda: None
    return lambda: os.chdir(before)


def _environment() -> Restore:
    before = dict(os.environ)

    def restore() -> None:
        if dict(os.environ) != before:
            os.environ.clear()
            os.environ.update(before)

    return restore


def _descriptors() -> Restore:
    """Standard input, output and error, which a method may close or replace."""
    kept: dict[int, int] = {}
    for number in range(3):
        with suppress(OSError):  # was closed before
            kept[number] = os.dup(number)

    def restore() -> None:
        for number, copy in kept.items():
            with suppress(OSError):
                if not _same(number, copy):
                    os.dup2(copy, number)
            with suppress(OSError):
                os.close(copy)

    return restore


def _same(number: int, copy: int) -> bool:
    try:
        return os.path.sameopenfile(number, copy)
    except OSError:
        return False


def _streams() -> Restore:
    """`sys.stdout` and the others; a closed one is reopened on its descriptor."""
    before = {name: getattr(sys, name) for name in _STREAMS}

    def restore() -> None:
        for number, (name, stream) in enumerate(before.items()):
            if stream is not None and stream.closed:
                mode = "r" if name == "stdin" else "w"
                stream = open(number, mode, encoding=stream.encoding, errors=stream.errors, closefd=False)  # noqa: SIM115
                setattr(sys, f"__{name}__", stream)
            setattr(sys, name, stream)

    return restore


def _signals() -> Restore:
    """Signal handlers; removes an alarm if none was set before."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    alarm = hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] == 0

    def restore() -> None:
        if interruption.pending():  # its own handlers are active
            return
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if alarm and signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 0)

    return restore


def _python() -> Restore:
    """Settings of the interpreter."""
    path, limit, hooks = list(sys.path), sys.getrecursionlimit(), (sys.excepthook, sys.gettrace(), sys.getprofile())
    collecting, thresholds, mask, place = (
        gc.isenabled(),
        gc.get_threshold(),
        os.umask(0o022),
        locale.setlocale(locale.LC_ALL),
    )
    os.umask(mask)

    def restore() -> None:
        sys.path[:] = path
        sys.setrecursionlimit(limit)
        sys.excepthook = hooks[0]
        if sys.gettrace() is not hooks[1]:
            sys.settrace(hooks[1])
        if sys.getprofile() is not hooks[2]:
            sys.setprofile(hooks[2])
        (gc.enable if collecting else gc.disable)()
        gc.set_threshold(*thresholds)
        os.umask(mask)
        if locale.setlocale(locale.LC_ALL) != place:
            locale.setlocale(locale.LC_ALL, place)

    return restore


def _messages() -> Restore:
    """Warnings and logging."""
    filters, showwarning, disabled = list(warnings.filters), warnings.showwarning, logging.root.manager.disable
    suite = logging.getLogger("tunefront")
    level, silent, propagate, handlers = suite.level, suite.disabled, suite.propagate, list(suite.handlers)

    def restore() -> None:
        if warnings.filters != filters:
            warnings.filters[:] = filters  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]
        warnings.showwarning = showwarning
        logging.disable(disabled)
        suite.setLevel(level)
        suite.disabled, suite.propagate, suite.handlers[:] = silent, propagate, handlers

    return restore


def _random() -> Restore:
    """The global random generators; a cell has its own seeds, but later code may use these."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    cpu_state, cuda_states = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu_state)
        for device, state in zip(devices, cuda_states, strict=True):
            torch.cuda.set_rng_state(state, device)

    return restore


def _torch() -> Restore:
    """torch's defaults and modes."""
    backends: Any = torch.backends  # Any: its switches are module properties
    switches = [
        (backends.cudnn, ("enabled", "benchmark", "deterministic", "allow_tf32")),
        (backends.cuda.matmul, ("allow_tf32", "allow_bf16_reduced_precision_reduction")),
        (backends.mkldnn, ("enabled",)),
    ]
    flags = [(home, name, getattr(home, name)) for home, names in switches for name in names if hasattr(home, name)]
    dtype, threads, grad = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    strict, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    precision, anomaly = torch.get_float32_matmul_precision(), torch.is_anomaly_enabled()
    device = torch.get_default_device()

    def restore() -> None:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.autograd.set_detect_anomaly(anomaly)
        torch.use_deterministic_algorithms(strict, warn_only=warned)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.get_float32_matmul_precision() != precision:
            torch.set_float32_matmul_precision(precision)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device == torch.device("cpu") else device)
        for home, name, value in flags:
            if getattr(home, name) != value:
                setattr(home, name, value)

    return restore
