"""The `tunefront` command. Heavy libraries are imported inside the commands, so that --help is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from tunefront.bench.cli.ablate import ablate
from tunefront.bench.cli.check import check
from tunefront.bench.cli.console import FAILED, Console, print_plain
from tunefront.bench.cli.diff import diff
from tunefront.bench.cli.export import export
from tunefront.bench.cli.fetch import fetch
from tunefront.bench.cli.init import init
from tunefront.bench.cli.list import list_
from tunefront.bench.cli.mix import mix
from tunefront.bench.cli.plan import plan
from tunefront.bench.cli.predict import predict
from tunefront.bench.cli.pretrain import pretrain
from tunefront.bench.cli.probe import probe
from tunefront.bench.cli.prune import prune
from tunefront.bench.cli.push import push
from tunefront.bench.cli.report import report
from tunefront.bench.cli.run import run
from tunefront.bench.cli.stale import stale
from tunefront.bench.cli.stream import stream
from tunefront.bench.cli.submit import submit
from tunefront.bench.cli.templates import templates
from tunefront.bench.execution import interruption


class _Commands(TyperGroup):
    """The commands; errors in options are printed through our console."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,  # Any: typer's own signature, the result too
    ) -> Any:
        """Runs a command and exits with its exit code."""
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.Abort:
            code = FAILED
        except Exception as error:
            if not hasattr(error, "format_message"):  # typer's and click's errors have it, and no type in common
                raise
            context, console = getattr(error, "ctx", None), Console(stderr=True)
            if context is not None:
                print_plain(console, f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n")
            print_plain(console, f"Error: {error.format_message()}")
            code = getattr(error, "exit_code", FAILED)
        if interruption.pending():  # typer returns 130 for every signal
            code = interruption.exit_code()
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    name="tunefront",
    cls=_Commands,
    help="Compare ways to adapt a pretrained language model: the cost and the scores of each.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command()(run)
app.command()(stream)
app.command()(mix)
app.command()(check)
app.command()(probe)
app.command()(report)
app.command()(diff)
app.command()(push)
app.command()(predict)
app.command()(export)
app.command()(plan)
app.command()(ablate)
app.command()(submit)
app.command()(init)
app.command(name="list")(list_)
app.command()(stale)
app.command()(prune)
app.command()(templates)
app.command()(pretrain)
app.command()(fetch)


def main() -> None:
    """Runs the command; `tunefront.bench.cli.entry` also handles signals from the start."""
    app()
