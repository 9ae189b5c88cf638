"""The options of the command: what each is called and what --help says of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tunefront.bench.errors import UserError
from tunefront.bench.files import known_protocols, local_folder
from tunefront.bench.suites.overrides import OPTIONS, Option, Texts


def choosing_cells(**helps: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with the options of `Overrides` in the place of its parameter `texts`, which gets what was typed.

    `helps` say of a field what --help shows where that is not what `Overrides` says.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        declared = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in declared.parameters.values():
            parameters += _choosing(helps) if parameter.name == "texts" else [parameter]

        @functools.wraps(command)
        def called(**given: Any) -> None:  # Any: the command's own parameters
            typed: Texts = {name: given.pop(name) for name in OPTIONS}
            command(texts=typed, **given)

        vars(called)["__signature__"] = declared.replace(parameters=parameters)
        return called

    return decorated


def _choosing(helps: dict[str, str]) -> list[inspect.Parameter]:
    return [_parameter(name, option, helps.get(name, option.help)) for name, option in OPTIONS.items()]


def _parameter(name: str, option: Option, text: str) -> inspect.Parameter:
    repeated = " Repeatable." if option.repeatable and not option.commas else ""
    declared = typer.Option(f"--{option.name}", help=text + repeated, metavar=option.metavar)
    typed = list[str] | None if option.repeatable else str | None
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=None, annotation=Annotated[typed, declared])


class Listed(StrEnum):
    """What `tunefront list` lists."""

    methods = "methods"
    tasks = "tasks"
    backbones = "backbones"
    suites = "suites"
    settings = "settings"


Suite = Annotated[
    str, typer.Argument(help="A shipped suite (see `tunefront list suites`) or a TOML file.", metavar="SUITE")
]
Out = Annotated[str, typer.Option(help="Folder or fsspec URL of the records and the report.")]
Workers = Annotated[int | None, typer.Option(help="Cells that run at a time; default one per core, at most 4.", min=1)]
Engine = Annotated[str, typer.Option(help="Where cells run: local.")]
PlanFirst = Annotated[
    bool, typer.Option("--plan/--no-plan", help="Predict costs first; the report sets them beside what is measured.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

Results = Annotated[str, typer.Argument(help="A results folder or its fsspec URL.")]
OwnMethods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", help="A file of your own methods, to be run and compared by. Repeatable.", metavar="FILE.py"
    ),
]
ReportOut = Annotated[
    str | None,
    typer.Option(help="Where to write it; default RESULTS/report, or tunefront-report for a URL.", metavar="DIR"),
]
Formats = Annotated[str, typer.Option(help="Any of html,pdf,md,tex,csv.", metavar="F,F")]
Where = Annotated[
    list[str] | None,
    typer.Option(help="Only records with this value, as dtype=float32. Repeatable.", metavar="FIELD=VALUE"),
]
What = Annotated[Listed, typer.Argument(help="What to list.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]

PlannedSuite = Annotated[
    str | None,
    typer.Argument(help="A suite, as of `run`; `quick` unless made-up rows are asked for.", metavar="SUITE"),
]
Length = Annotated[
    int | None,
    typer.Option(
        help="Plan on made-up rows of so many tokens, special ones included; default 128 of a preset.", metavar="N"
    ),
]
Choices = Annotated[int | None, typer.Option(help="Classes or answers of a made-up row; default 2.", metavar="N")]
AnswerLength = Annotated[
    int | None, typer.Option(help="Tokens of each answer of a made-up row; default 1.", metavar="N")
]
Queries = Annotated[int | None, typer.Option(help="Made-up rows that are scored; default 64.", metavar="N")]
PlannedWorkers = Annotated[
    int, typer.Option(help="Cells that will run at a time; kept with the plan, changes no number.", metavar="N", min=1)
]
DeviceMemory = Annotated[
    str | None, typer.Option(help="Say what fits into it, and which batch: 24GB, 80GiB.", metavar="SIZE")
]
Sweep = Annotated[str | None, typer.Option(help="Peak memory over batch=1,2,4 or length=64,128.", metavar="NAME=N,N")]
Paper = Annotated[
    str | None, typer.Option(help="A paper's cost tables beside ours: tfew2022, houlsby2019.", metavar="P")
]
Seconds = Annotated[
    bool | None,
    typer.Option(
        "--seconds/--no-seconds",
        help="Time operators on this machine and predict its seconds; by default unless --device-memory is given.",
    ),
]
PlanOut = Annotated[
    str | None,
    typer.Option(help="Keep the plan in this results folder, whose report then sets it beside what is measured."),
]

Device = Annotated[str | None, typer.Option(help=OPTIONS["device"].help, metavar=OPTIONS["device"].metavar)]
Method = Annotated[str, typer.Option(help="What is trained, as spelled in records.", metavar="M")]
Backbone = Annotated[str, typer.Option(help="A language model: a folder or a Hub id.", metavar="B")]
MixtureTasks = Annotated[
    list[str], typer.Option(help="docstrings/NAME, dir:FOLDER or hub:NAME; more of them are mixed.", metavar="T")
]
MixtureTemplate = Annotated[
    str, typer.Option(help="A prompt template, or `all` whose answers can be ranked.", metavar="T")
]
RecipeSettings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A field of the recipe, steps=1000, or max_length=N. Repeatable.", metavar="KEY=VALUE"),
]
Start = Annotated[Path, typer.Option(help="The safetensors file to write.", metavar="FILE")]
Cap = Annotated[int, typer.Option(help="The most rows of a task, all its templates together.", metavar="N", min=1)]
Seed = Annotated[
    int,
    typer.Option(
        help="Seed of the rows drawn, their order, initialisation and dropout.", metavar="N", min=0, max=2**32 - 1
    ),
]


def location(option: str, text: str) -> str:
    """A folder or fsspec URL as it was typed; UserError where it is blank, or no path."""
    try:
        folder = local_folder(text)
    except UserError as error:
        raise UserError(f"{option}: {error}") from error
    scheme, colon, rest = text.partition(":/")
    if folder is not None and colon and not rest.startswith("/") and scheme in known_protocols():
        whole = f"{scheme}:///{rest}" if scheme in ("file", "local") else f"{scheme}://{rest}"
        raise UserError(f"{option}: {text} has one slash only; write {whole}, or ./{text} for a folder.")
    return text
