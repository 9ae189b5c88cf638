"""How the command speaks: errors as one paragraph with an exit code, warnings, and silence from the libraries."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from tunefront.bench.errors import DiskFull, Mistake

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130

_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # a tokenizer's threads do not survive a fork
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
}


def quiet_libraries() -> None:
    """Keeps the libraries' bars and chatter out of the display; what a person set in the environment stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def command() -> str:
    """The command as it was typed."""
    program = "tunefront" if Path(sys.argv[0]).name != "__main__.py" else "python -m tunefront"
    return shlex.join([*program.split(), *sys.argv[1:]])


@contextmanager
def told(console: Console, debug: bool = False, stopped: str | None = None) -> Iterator[None]:
    """Turns errors into a paragraph on `console` and an exit code: 2 for a mistake, 1 for a full disk or a bug, 130 for
    Ctrl-C; with `debug` the traceback is shown as well. `stopped` is what Ctrl-C leads to, where no cells run."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        if stopped is None:
            goes_on(console)
        else:
            say(console, stopped)
        raise typer.Exit(INTERRUPTED) from None
    except Mistake as error:
        _show(console, str(error), debug)
        raise typer.Exit(MISTAKE) from None
    except Exception as error:
        if isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
            _show(console, str(error), debug)
            raise typer.Exit(FAILED) from None
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        hint = "" if debug else " Add --debug to the same command for the traceback, and please report it."
        _show(console, f"this is a bug in tunefront, not in your call: {what}.{hint}", debug)
        raise typer.Exit(FAILED) from None


def goes_on(console: Console) -> None:
    """Says after an interruption how to go on."""
    say(console, f"Stopped; every finished cell is recorded. The same command goes on where it stopped:\n  {command()}")


def say(console: Console, text: str, style: str = "") -> None:
    """Prints a text as it is: nothing in it is markup, and a path is not broken at the edge."""
    console.print(Text(text, style), highlight=False, soft_wrap=True)


@contextmanager
def warnings_on(console: Console) -> Iterator[None]:
    """Prints what the suite's log warns of above a live display instead of through it."""
    log, handler = logging.getLogger("tunefront"), _Handler(console)
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before


class _Handler(logging.Handler):
    def __init__(self, console: Console):
        super().__init__(logging.WARNING)
        self._console, self._process = console, os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        if os.getpid() != self._process:  # a forked worker: the display is its parent's
            os.write(2, f"warning: {record.getMessage()}\n".encode())
            return
        say(self._console, f"warning: {record.getMessage()}", "yellow")


def _show(console: Console, text: str, debug: bool) -> None:
    if debug:
        import traceback

        say(console, traceback.format_exc().rstrip())
    console.print(Text.assemble(("error: ", "bold red"), text), highlight=False, soft_wrap=True)
