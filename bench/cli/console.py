"""Output of the command: printed text, errors as one paragraph with an exit code, silenced libraries."""

from __future__ import annotations

import errno
import logging
import os
import re
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
from tunefront.bench.cli.terminal import forget_lost_output, lost_output
from tunefront.bench.cli.terminal import print_raw as print_raw
from tunefront.bench.errors import (
    DiskFull,
    UserError,
    in_short,
    lacks_memory,
    lacks_threads,
    printable,
    without_long_words,
    without_passwords,
)
from tunefront.bench.execution import interruption
from tunefront.bench.files import explain_os_error
from tunefront.bench.quiet import quiet_libraries as quiet_libraries

FAILED, MISTAKE = 1, 2
WIDEST = 100
"""Characters of the widest line of a paragraph on a screen."""
_PERCENT = re.compile(r"(?<=\d) (?=%)")
_JOINED = "\ue000"
"""Stands for a blank at which no line may break; a character without a meaning."""


def command() -> str:
    """The command line as typed."""
    program = "tunefront" if Path(sys.argv[0]).name != "__main__.py" else "python -m tunefront"
    return shlex.join([*program.split(), *sys.argv[1:]])


@contextmanager
def handle_errors(
    console: RichConsole, debug: bool = False, stopped: str | None = None, prints: bool = False
) -> Iterator[None]:
    """Turns errors into a paragraph on `console` and an exit code: 2 for a mistake or an unusable file, 1 for a full
    disk or a bug, 130 for Ctrl-C, 143 for SIGTERM; with `debug` the traceback is shown as well.

    `stopped`, for a command that runs no cells, is the message after an interruption. `prints` says that the printed
    text is the command's only result, so that the command fails if the text cannot be printed.
    """
    with interruption.listening(interruption.COMMAND_SIGNALS, exits=True):
        try:
            forget_lost_output()
            _check_working_directory()
            yield
        except typer.Exit:
            raise
        except BaseException as error:
            raise typer.Exit(_report_error(console, error, debug, stopped)) from None
        if interruption.pending():  # library code swallowed the exception
            raise typer.Exit(_report_error(console, KeyboardInterrupt(), debug, stopped))
        if (reason := lost_output()) is not None:
            print_plain(console, f"warning: some output could not be printed ({reason})", "yellow")
            if prints:
                raise typer.Exit(FAILED)


def _report_error(console: RichConsole, error: BaseException, debug: bool, stopped: str | None) -> int:
    """Prints the error; returns the exit code."""
    if isinstance(error, KeyboardInterrupt) or interruption.pending():
        interruption.mark_answered()
        if stopped is None:
            print_resume_hint(console)
        else:
            print_plain(console, stopped)
        return interruption.exit_code()
    text, code = _paragraph(error, debug)
    if debug:
        import traceback

        print_plain(console, "".join(traceback.format_exception(error)).rstrip())
    paragraph(console, Text.assemble(("error: ", "bold red"), printable(without_passwords(text))))
    return code


def _paragraph(error: BaseException, debug: bool) -> tuple[str, int]:
    """The message and the exit code of an error."""
    known = explain(error)
    if known is not None:
        return known
    hint = "" if debug else " Add --debug to the same command for the traceback, and please report it."
    return f"this is a bug in tunefront, not in your call: {in_short(error)}.{hint}", FAILED


def explain(error: BaseException) -> tuple[str, int] | None:
    """The message and the exit code of an error that the call or the machine caused; None for a bug."""
    if lacks_threads(error):
        return (
            "the machine starts no further thread: it has no memory for one, or a limit is reached (see `ulimit -a`); "
            "use fewer --workers, or raise the limit: finished records are kept.",
            MISTAKE,
        )
    if isinstance(error, UserError):
        return str(error), MISTAKE
    if isinstance(error, DiskFull):
        return str(error), FAILED
    if isinstance(error, OSError):
        return explain_os_error(error), FAILED if error.errno in (errno.ENOSPC, errno.EDQUOT) else MISTAKE
    if lacks_memory(error):
        return (
            "the machine has no memory left; use fewer --workers or smaller batches: finished records are kept.",
            FAILED,
        )
    if isinstance(error, RecursionError):
        return "the call, or a file that it names, is nested too deeply to be read.", MISTAKE
    if isinstance(error, SystemExit):
        return f"imported code ended the command ({in_short(error)}).", FAILED
    return None


def _check_working_directory() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(
            f"the working directory cannot be used ({error.strerror}): it was removed or its disk is gone. Change to "
            "another folder and repeat the command."
        ) from error


def print_resume_hint(console: RichConsole) -> None:
    """Says, after an interruption, how to continue."""
    print_plain(
        console,
        f"Stopped; every finished cell is recorded. The same command continues where it stopped:\n  {command()}",
    )


def print_plain(console: RichConsole, text: str, style: str = "") -> None:
    """Prints a text literally, without interpreting markup, and without the passwords of URLs."""
    paragraph(console, Text(printable(without_passwords(text)), style))


def paragraph(console: RichConsole, text: Text) -> None:
    """Prints a text; in a terminal, lines break between words only, so that a path stays whole; elsewhere they do not
    break."""
    if console.is_terminal:
        text = text.copy()
        text.plain = wrap(text.plain, console.width)
    console.print(text, highlight=False, soft_wrap=True)


def print_item(console: RichConsole, text: str, mark: str = "", style: str = "", indent: str = "  ") -> None:
    """A wrapped paragraph, in `style`; or under a mark in that style, its other lines under its first."""
    indent = f"{indent}  " if mark else indent
    width = max(20, min(console.width, WIDEST) - len(indent))
    for number, line in enumerate(wrap(printable(text, single_line=True), width).split("\n")):
        if mark:
            shown = Text.assemble(indent[2:], (mark if number == 0 else " ", style), " ", line)
        else:
            shown = Text(indent + line, style)
        console.print(shown, soft_wrap=True)


def wrap(text: str, width: int) -> str:
    """The text wrapped between words; a word longer than `width` gets a longer line of its own. A number stays with its
    percent sign.

    >>> wrap("a line of words /and/a/path/that/is/long is broken", 12).splitlines()
    ['a line of', 'words', '/and/a/path/that/is/long', 'is broken']
    >>> wrap("it is about 25 %", 14).splitlines()
    ['it is about', '25 %']
    """
    lines = textwrap.TextWrapper(
        width, break_long_words=False, break_on_hyphens=False, expand_tabs=False, replace_whitespace=False
    )
    whole = [lines.fill(_PERCENT.sub(_JOINED, line)) for line in text.split("\n")]
    return "\n".join(whole).replace(_JOINED, " ")


def can_ask(console: RichConsole) -> bool:
    """Whether a question on `console` is seen and answered: both it and standard input are a terminal."""
    try:
        return console.is_terminal and sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # closed
        return False


def ask(console: RichConsole, question: str) -> bool:
    """Whether the answer to a question is yes; anything else, and the end of the input, is no."""
    console.print(Text(f"{printable(question)} [y/N] "), end="", highlight=False, soft_wrap=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):  # Ctrl-D
        console.print()
    return answer.strip().lower() in ("y", "yes")


def announce(console: RichConsole, line: str) -> None:
    """Prints a line about a task: its name in bold, then the rest."""
    name, mark, rest = printable(line).partition(": ")
    paragraph(console, Text.assemble((name + mark, "bold"), (rest, "dim")))


@contextmanager
def warnings_on(console: RichConsole) -> Iterator[None]:
    """Prints log messages and Python warnings above a live display, instead of into it."""
    log, handler = logging.getLogger("tunefront"), _Handler(console)
    log.addHandler(handler)
    propagate, log.propagate = log.propagate, False
    showwarning = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        handler.print(warnings.formatwarning(message, category, filename, lineno, line).rstrip())

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = showwarning
        log.removeHandler(handler)
        log.propagate = propagate


class _Handler(logging.Handler):
    def __init__(self, console: RichConsole):
        super().__init__(logging.WARNING)
        self._console, self._process = console, os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        self.print(f"warning: {record.getMessage()}")

    def print(self, text: str) -> None:
        if os.getpid() != self._process:  # a forked worker: the display belongs to its parent
            with suppress(OSError):
                os.write(2, f"{printable(without_passwords(text))}\n".encode(errors="backslashreplace"))
            return
        print_plain(self._console, without_long_words(text), "yellow")
