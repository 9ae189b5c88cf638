"""Where the command begins: signals are listened to before anything else is imported, and until all is done."""

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
    sys.unraisablehook = _unless_interrupted(sys.unraisablehook)
    with interruption.listening(interruption.COMMAND_SIGNALS, exits=True):
        try:
            from tunefront.bench.cli.main import app

            app()
        except SystemExit as ended:
            code = ended.code
        except KeyboardInterrupt:  # before or after a command had the word
            code = interruption.exit_code()
        except BaseException:
            if not interruption.pending():  # else it is what an import made of an interruption
                raise
            code = interruption.exit_code()
        if interruption.pending() and not code:
            code = interruption.exit_code()
        interrupted = interruption.pending()
        interruption.stop_listening()  # all is done: what comes now changes nothing
    _end(code, interrupted)


def _unless_interrupted(hook: Callable[[sys.UnraisableHookArgs], object]) -> Callable[[sys.UnraisableHookArgs], object]:
    """Says nothing of an interruption that a finalizer has swallowed: it is raised again."""

    def told(lost: sys.UnraisableHookArgs) -> object:
        silent = interruption.pending() and issubclass(lost.exc_type, KeyboardInterrupt)
        return None if silent else hook(lost)

    return told


def _end(code: object, interrupted: bool) -> None:
    """Ends the process: at once where a method has left a thread that would keep it, and where it was interrupted,
    since CPython below 3.12 then ends by SIGINT where the interruption came inside an exec(), although it was caught.
    """
    gc.freeze()  # all that is left ends with the process: looking for cycles in libraries takes a second
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if interrupted or left:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        interruption.end_children()
        os._exit(code if isinstance(code, int) else int(bool(code)))
    sys.exit(code)  # type: ignore[arg-type]
