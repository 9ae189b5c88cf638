"""The `tunefront` command. Whatever is heavy is imported inside the commands, so that --help is quick."""

from __future__ import annotations

import gc

import typer

from tunefront.bench.cli.list import list_
from tunefront.bench.cli.plan import plan
from tunefront.bench.cli.pretrain import pretrain
from tunefront.bench.cli.report import report
from tunefront.bench.cli.run import run
from tunefront.bench.cli.stale import stale

app = typer.Typer(
    name="tunefront",
    help="Compare ways of adapting a pretrained language model: what each costs, and how well it does.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command()(run)
app.command()(report)
app.command()(plan)
app.command(name="list")(list_)
app.command()(stale)
app.command()(pretrain)


def main() -> None:
    """The entry point of the command."""
    try:
        app()
    finally:
        gc.freeze()  # all that is left ends with the process: looking for cycles in libraries takes a second
