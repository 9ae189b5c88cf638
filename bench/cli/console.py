"""How the command speaks: what is printed, errors as one paragraph with an exit code, silence from the libraries."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import typer
from rich.console import Console as RichConsole
from rich.text import Text

from tunefront.bench.cli.terminal import Console as Console
from tunefront.bench.cli.terminal import begin, lost_output
from tunefront.bench.cli.terminal import plain as plain
from tunefront.bench.errors import DiskFull, UserError, in_short, printable, without_long_words
from tunefront.bench.execution import interruption
from tunefront.bench.files import explain_os_error
from tunefront.bench.quiet import quiet_libraries as quiet_libraries

FAILED, MISTAKE = 1, 2


def command() -> str:
    """The command as it was typed."""
    program = "tunefront" if Path(sys.argv[0]).name != "__main__.py" else "python -m tunefront"
    return shlex.join([*program.split(), *sys.argv[1:]])


@contextmanager
def handle_errors(
    console: RichConsole, debug: bool = False, stopped: str | None = None, prints: bool = False
) -> Iterator[None]:
    """Turns errors into a paragraph on `console` and an exit code: 2 for a mistake or a file that cannot be used, 1 for
    a full disk or a bug, 130 for Ctrl-C, 143 for SIGTERM; with `debug` the traceback is shown as well.

    `stopped` is what an interruption leads to, where no cells run; `prints`, whether what is printed is all that the
    command is for, so that it has failed where that is lost.
    """
    with interruption.listening(interruption.COMMAND_SIGNALS, exits=True):
        try:
            begin()
            _check_working_directory()
            yield
        except typer.Exit:
            raise
        except BaseException as error:
            raise typer.Exit(_report_error(console, error, debug, stopped)) from None
        if interruption.pending():  # it was swallowed on its way
            raise typer.Exit(_report_error(console, KeyboardInterrupt(), debug, stopped))
        if (reason := lost_output()) is not None:
            print_plain(console, f"warning: not all could be printed ({reason})", "yellow")
            if prints:
                raise typer.Exit(FAILED)


def _report_error(console: RichConsole, error: BaseException, debug: bool, stopped: str | None) -> int:
    """Says what went wrong; returns the exit code."""
    if isinstance(error, KeyboardInterrupt) or interruption.pending():
        interruption.answered()
        if stopped is None:
            print_resume_hint(console)
        else:
            print_plain(console, stopped)
        return interruption.exit_code()
    text, code = _paragraph(error, debug)
    if debug:
        import traceback

        print_plain(console, "".join(traceback.format_exception(error)).rstrip())
    paragraph(console, Text.assemble(("error: ", "bold red"), printable(text)))
    return code


def _paragraph(error: BaseException, debug: bool) -> tuple[str, int]:
    """What an error is called, and the exit code that it comes to."""
    if isinstance(error, UserError):
        return str(error), MISTAKE
    if isinstance(error, DiskFull):
        return str(error), FAILED
    if isinstance(error, OSError):
        return explain_os_error(error), FAILED if error.errno in (errno.ENOSPC, errno.EDQUOT) else MISTAKE
    if isinstance(error, MemoryError):
        return (
            "the machine has no memory left; take fewer --workers or smaller batches: what is done stays.",
            FAILED,
        )
    if isinstance(error, RecursionError):
        return "something in the call or in a file that it names is nested too deeply to be read.", MISTAKE
    if isinstance(error, SystemExit):
        return f"code that was imported ended the command itself ({in_short(error)}).", FAILED
    hint = "" if debug else " Add --debug to the same command for the traceback, and please report it."
    return f"this is a bug in tunefront, not in your call: {in_short(error)}.{hint}", FAILED


def _check_working_directory() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(
            f"the working directory cannot be used ({error.strerror}): it was removed or its disk is gone. Change to "
            "another one and give the command again."
        ) from error


def print_resume_hint(console: RichConsole) -> None:
    """Says after an interruption how to go on."""
    print_plain(
        console, f"Stopped; every finished cell is recorded. The same command goes on where it stopped:\n  {command()}"
    )


def print_plain(console: RichConsole, text: str, style: str = "") -> None:
    """Prints a text as it is: nothing in it is markup."""
    paragraph(console, Text(printable(text), style))


def paragraph(console: RichConsole, text: Text) -> None:
    """Prints a text, in a terminal broken between words, so that a path stays whole; elsewhere not broken at all."""
    if console.is_terminal:
        text = text.copy()
        text.plain = broken(text.plain, console.width)
    console.print(text, highlight=False, soft_wrap=True)


def broken(text: str, width: int) -> str:
    """The text with line feeds in the place of some spaces, so that no line but that of a longer word is wider.

    >>> broken("a line of words /and/a/path/that/is/long is broken", 12).splitlines()
    ['a line of', 'words', '/and/a/path/that/is/long', 'is broken']
    """
    lines = textwrap.TextWrapper(
        width, break_long_words=False, break_on_hyphens=False, expand_tabs=False, replace_whitespace=False
    )
    return "\n".join(map(lines.fill, text.split("\n")))


def announce(console: RichConsole, line: str) -> None:
    """Prints what was read: the task's name, then the rest."""
    name, mark, rest = printable(line).partition(": ")
    paragraph(console, Text.assemble((name + mark, "bold"), (rest, "dim")))


@contextmanager
def warnings_on(console: RichConsole) -> Iterator[None]:
    """Prints what the suite's log and Python's warnings say above a live display instead of through it."""
    log, handler = logging.getLogger("tunefront"), _Handler(console)
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    shown = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        handler.say(warnings.formatwarning(message, category, filename, lineno, line).rstrip())

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown
        log.removeHandler(handler)
        log.propagate = before


class _Handler(logging.Handler):
    def __init__(self, console: RichConsole):
        super().__init__(logging.WARNING)
        self._console, self._process = console, os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        self.say(f"warning: {record.getMessage()}")

    def say(self, text: str) -> None:
        if os.getpid() != self._process:  # a forked worker: the display is its parent's
            with suppress(OSError):
                os.write(2, f"{printable(text)}\n".encode(errors="backslashreplace"))
            return
        print_plain(self._console, without_long_words(text), "yellow")
