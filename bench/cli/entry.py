"""The entry point of the command: it handles signals before anything else is imported, and until the end."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from tunefront.bench.execution import interruption


def main() -> None:
    """The entry point of the command."""
    code: object = 0
    sys.unraisablehook = _without_known(sys.unraisablehook)
    with interruption.listening(interruption.COMMAND_SIGNALS, exits=True):
        try:
            from tunefront.bench.cli.main import app

            app()
        except SystemExit as ended:
            code = ended.code
        except KeyboardInterrupt:  # before or after the command itself ran
            code = interruption.exit_code()
        except BaseException:
            if not interruption.pending():  # else an import turned the interruption into another error
                raise
            code = interruption.exit_code()
        if interruption.pending() and not code:
            code = interruption.exit_code()
        interrupted = interruption.pending()
        interruption.stop_listening()  # the work is finished: a signal now changes nothing
    _end(code, interrupted)


def _without_known(hook: Callable[[sys.UnraisableHookArgs], object]) -> Callable[[sys.UnraisableHookArgs], object]:
    """The hook, but silent about what a finalizer or a callback swallowed and is said otherwise: an interruption is
    raised again, and a library that got no memory raises an error of its own."""

    def filtered(lost: sys.UnraisableHookArgs) -> object:
        known = (MemoryError, KeyboardInterrupt) if interruption.pending() else MemoryError
        return None if issubclass(lost.exc_type, known) else hook(lost)

    return filtered


def _end(code: object, interrupted: bool) -> None:
    """Ends the process. It ends at once if a method left a running thread, which would keep the process alive, or if it
    was interrupted: CPython below 3.12 dies by SIGINT if the interruption came inside an exec(), even if it was caught.
    """
    gc.freeze()  # a last search for reference cycles in the libraries would take a second
    threads = [
        thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()
    ]
    if interrupted or threads:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        interruption.end_children()
        os._exit(code if isinstance(code, int) else int(bool(code)))
    sys.exit(code)  # type: ignore[arg-type]
