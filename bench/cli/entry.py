"""Where the command begins: signals are listened to before anything else is imported, and until all is done."""

from __future__ import annotations

import gc
import os
import sys
import threading
from contextlib import suppress

from tunefront.bench.execution import interruption


def main() -> None:
    """The entry point of the command."""
    code: object = 0
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
        interruption.stop_listening()  # all is done: what comes now changes nothing
    _end(code)


def _end(code: object) -> None:
    """Ends the process, at once where a method has left a thread that would keep it."""
    gc.freeze()  # all that is left ends with the process: looking for cycles in libraries takes a second
    if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        interruption.end_children()
        os._exit(code if isinstance(code, int) else int(bool(code)))
    sys.exit(code)  # type: ignore[arg-type]
