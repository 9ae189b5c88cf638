"""The options of the command: their names and --help texts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tunefront.bench.data.sources.file_name import OPTIONS as READING
from tunefront.bench.errors import UserError
from tunefront.bench.files import known_protocols, local_folder
from tunefront.bench.suites.overrides import OPTIONS, Option, Text, Texts


def add_cell_options(**helps: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replaces a command's parameter `texts` by the options of `Overrides`; the command gets the typed texts.

    `helps` replace the --help texts of single fields.
    """
    return _with_options(OPTIONS, helps)


def add_reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same with the options that say how a file is read, for a command whose argument DATA is the file."""
    helps = {name: OPTIONS[name].help.replace("--data", "DATA") for name in READING}
    return _with_options({name: OPTIONS[name] for name in READING}, helps)(command)


def add_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same with `--data` and the options of its reading."""
    return _with_options({name: OPTIONS[name] for name in ("data", *READING)}, {})(command)


def _with_options(
    fields: Mapping[str, Option], helps: Mapping[str, str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        declared = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in declared.parameters.values():
            added = [_parameter(name, option, helps.get(name, option.help)) for name, option in fields.items()]
            parameters += added if parameter.name == "texts" else [parameter]

        @functools.wraps(command)
        def wrapper(**arguments: Any) -> None:  # Any: the command's own parameters
            typed: Texts = {name: arguments.pop(name) for name in fields}
            command(texts=typed, **arguments)

        vars(wrapper)["__signature__"] = declared.replace(parameters=parameters)
        return wrapper

    return decorate


def _parameter(name: str, option: Option, text: str) -> inspect.Parameter:
    repeated = " Repeatable." if option.repeatable and not option.commas else ""
    declared = typer.Option(f"--{option.name}", help=text + repeated, metavar=option.metavar)
    typed = list[str] | None if option.repeatable else str | None
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=None, annotation=Annotated[typed, declared])


def with_data(texts: Texts, data: str | None) -> Texts:
    """The typed options with the argument DATA of a command: a file or folder as --data, the name of a task as --task.
    Options that say how to read a file make a folder's task, `dir:FOLDER`, a file's."""
    if data is None:
        return texts
    from tunefront.bench.data.sources import names_a_task

    option = "tasks" if names_a_task(data, any(texts.get(name) for name in READING)) else "data"
    return {**texts, option: [data, *_listed(texts.get(option))]}


def _listed(text: Text) -> Sequence[str]:
    return [] if text is None else [text] if isinstance(text, str) else text


class Listed(StrEnum):
    """The kinds of things that `tunefront list` lists."""

    methods = "methods"
    tasks = "tasks"
    backbones = "backbones"
    architectures = "architectures"
    suites = "suites"
    settings = "settings"


class Ablation(StrEnum):
    """What `tunefront ablate` varies."""

    spans = "spans"
    init = "init"
    losses = "losses"
    size = "size"
    layers = "layers"
    shots = "shots"


class Keep(StrEnum):
    """What `tunefront run` keeps beside records and predictions."""

    checkpoints = "checkpoints"


Kept = Annotated[
    Keep | None,
    typer.Option(
        "--keep",
        help="`checkpoints`: keep what was trained, for `tunefront predict` and `tunefront export`; cells without one "
        "run again.",
        metavar="WHAT",
    ),
]
Matrix = Annotated[
    bool,
    typer.Option("--matrix", help="For methods: what each can do on which architecture, found by trying it."),
]
Checkpoint = Annotated[
    str,
    typer.Argument(
        help="A record whose checkpoint was kept (results/records/KEY.json), a file in results/checkpoints, or a "
        "folder of `tunefront export --to safetensors`.",
        metavar="CHECKPOINT",
    ),
]
RowsFile = Annotated[
    str, typer.Argument(help="A file of rows: CSV, TSV, JSONL, JSON, Parquet, Arrow or Excel.", metavar="FILE")
]
PredictOut = Annotated[
    str | None,
    typer.Option(
        help="Where the answers go, a .jsonl, .csv or .parquet file; default: FILE.predictions.jsonl.", metavar="PATH"
    ),
]
BackboneNow = Annotated[
    str | None,
    typer.Option(
        "--backbone", help="Where the backbone lies now, if it was moved; its files must be the same.", metavar="B"
    ),
]
ExportTo = Annotated[
    str, typer.Option("--to", help="The form: merged, peft, adapterhub or safetensors.", metavar="FORM")
]
ExportOut = Annotated[str, typer.Argument(help="The folder to write, which must not exist or be empty.", metavar="OUT")]
Ablated = Annotated[Ablation, typer.Argument(help="What is varied.", metavar="WHAT")]
Spans = Annotated[
    str | None,
    typer.Option(help="For `spans`: the spans of blocks, counted from 0, such as 0-2,5; default: every span."),
]
Values = Annotated[
    str | None,
    typer.Option(
        help="For `init`, `size` and `layers`: the values to try, such as 1e-4,1e-2; default: the paper's.",
        metavar="V,V",
    ),
]


def _suite_argument(default: str) -> Any:  # Any: typer's description of an argument
    """The argument SUITE of a command with this default."""
    text = f"A shipped suite (see `tunefront list suites`) or a TOML file; default: {default}."
    return typer.Argument(help=text, metavar="SUITE")


Suite = Annotated[str | None, _suite_argument("`own` for your own tasks, else `quick`")]
StreamSuite = Annotated[str | None, _suite_argument("`stream`")]
MixSuite = Annotated[str | None, _suite_argument("`mix`")]
Orders = Annotated[
    str, typer.Option(help="Orders of the tasks by seed, 0,1,2: 0 is as given, others are drawn.", metavar="N,N")
]
OneModel = Annotated[
    list[str] | None,
    typer.Option(
        "--one-model",
        help="A method that also has one model for all tasks, or none; default: the first method of SUITE. Repeatable.",
        metavar="M",
    ),
]
SharedWays = Annotated[
    list[str] | None,
    typer.Option(
        "--way",
        help="How that model is trained: sequential, multitask or replay; default: all. Repeatable.",
        metavar="WAY",
    ),
]
Replay = Annotated[
    str, typer.Option(help="The share of each earlier task's rows that `replay` trains on again.", metavar="SHARE")
]
Out = Annotated[str, typer.Option(help="Folder or fsspec URL for the records and the report.")]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Cells that run at a time; default: one per core, at most 4; on a cluster, as many as fit.", min=1
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="Where cells run: `local`, `ray` for the Ray cluster of this machine, or `ray:HOST:PORT`.",
        metavar="ENGINE",
    ),
]
Share = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Only the cells of share I of N, such as 2/8, so that N machines run them all; no report is written.",
        metavar="I/N",
    ),
]
Packed = Annotated[
    str | None,
    typer.Option(
        "--packed",
        help="With --shard I/N: the cells that this file of `tunefront submit` lists for job I.",
        metavar="FILE",
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs", help="The most jobs; fewer if there are fewer cells to run.", metavar="N", min=1, max=10_000
    ),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        help="An option of sbatch, such as partition=gpu or time=2:00:00; it replaces ours. Repeatable.",
        metavar="NAME=VALUE",
    ),
]
ShowScript = Annotated[bool, typer.Option("--dry-run", help="Print the script; write and submit nothing.")]
SubmitOut = Annotated[str, typer.Option(help="Folder that all machines share, or fsspec URL, for the records.")]
JobWorkers = Annotated[
    int, typer.Option("--workers", help="Cells that run at a time in a job.", metavar="N", min=1, max=1_000)
]
PlanFirst = Annotated[
    bool | None,
    typer.Option(
        "--plan/--no-plan",
        help="Predict costs first; the report shows them next to the measured ones. Suite `own` does.",
    ),
]
JobsPlan = Annotated[
    bool | None,
    typer.Option(
        "--plan/--no-plan",
        help="Each job predicts the costs of its cells first; the report shows them next to the measured ones. With "
        "suite `own` jobs do.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

Results = Annotated[str, typer.Argument(help="A results folder or its fsspec URL.", metavar="RESULTS")]
SeveralResults = Annotated[
    list[str],
    typer.Argument(help="A results folder or its fsspec URL; several make one report.", metavar="RESULTS"),
]
PrunedResults = Annotated[
    list[str],
    typer.Argument(help="A results folder or its fsspec URL; of several, each is looked at alone.", metavar="RESULTS"),
]
Failed = Annotated[bool, typer.Option("--failed", help="Failed records; `tunefront run` would try them again.")]
Superseded = Annotated[
    bool,
    typer.Option(
        "--superseded",
        help="Records whose cell has a newer result, for example since an upgrade; default: these and failed ones.",
    ),
]
OtherData = Annotated[
    bool,
    typer.Option(
        "--other-data",
        help="Records whose cell has a newer result from other rows, weights or method files of the same name.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without a question.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")]
OwnMethods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="A file with your own methods; it is imported to compare records with. Repeatable.",
        metavar="FILE.py",
    ),
]
ReportOut = Annotated[
    str | None,
    typer.Option(
        help="Folder or fsspec URL of the report; default: RESULTS/report, or tunefront-report in this folder if "
        "RESULTS is a URL or several folders.",
        metavar="DIR",
    ),
]
Formats = Annotated[str, typer.Option(help="Any of html,pdf,md,tex,csv.", metavar="F,F")]
Where = Annotated[
    list[str] | None,
    typer.Option(help="Only records with this value, such as dtype=float32. Repeatable.", metavar="FIELD=VALUE"),
]
ReportWhere = Annotated[
    list[str] | None,
    typer.Option(
        help="Only records with this value, such as dtype=float32, or of one folder, results=FOLDER; FIELD!=VALUE: "
        "without it. Repeatable.",
        metavar="FIELD=VALUE",
    ),
]
PricesFrom = Annotated[
    str | None,
    typer.Option(
        help="Prices of a device-hour or of tokens, from a file, or genai:MODEL for the list prices in the package "
        "genai-prices: the report then says what training and queries cost.",
        metavar="FILE.toml",
    ),
]
OldResults = Annotated[
    str, typer.Argument(help="The results to compare with: a folder or an fsspec URL.", metavar="OLD")
]
NewResults = Annotated[str, typer.Argument(help="The results in question.", metavar="NEW")]
FailOnRegression = Annotated[
    bool,
    typer.Option(
        "--fail-on-regression",
        help="Exit with 1 if a method is significantly worse, or failed where it had a score.",
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        help="Points (100 x the metric) that a method may lose: the interval must lie below that loss.",
        metavar="POINTS",
    ),
]
Checkpoints = Annotated[
    bool,
    typer.Option(
        "--checkpoints",
        help="Compare these very checkpoints instead, run by run (McNemar's test): for those who deploy the files. It "
        "says nothing about methods that are trained again, and two seeds of one method often differ.",
    ),
]
DiffFormat = Annotated[
    str, typer.Option(help="text, md (a comment on a pull request) or json.", metavar="text|md|json")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        help="A setting that may differ because it is what you test, such as dtype or max_length. Repeatable.",
        metavar="FIELD",
    ),
]
PushTo = Annotated[
    str,
    typer.Option(
        help="The tracker and the place in it: mlflow:http://HOST:PORT, or tensorboard:DIR.", metavar="TRACKER:PLACE"
    ),
]
Experiment = Annotated[
    str | None,
    typer.Option(help="The experiment of MLflow; default: tunefront/ and the name of RESULTS.", metavar="NAME"),
]
What = Annotated[Listed, typer.Argument(help="What to list.", metavar="KIND")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Data = Annotated[
    str, typer.Argument(help="A file, a folder, or the name of a task: dir:FOLDER, hub:NAME.", metavar="DATA")
]
PromptedBackbone = Annotated[
    str | None, typer.Option("--backbone", help="A language model whose tokens are counted.", metavar="B")
]
Model = Annotated[
    str,
    typer.Argument(
        help="An embedded name, a folder, a Hub id, a GGUF file, a preset or a config.json.", metavar="MODEL"
    ),
]
SitesFiles = Annotated[
    list[str] | None,
    typer.Option("--sites", help="A file with records of sites, as printed without it. Repeatable.", metavar="FILE"),
]
TrainedSites = Annotated[
    list[str] | None,
    typer.Option("--sites", help="A file with records of sites, as the run had it. Repeatable.", metavar="FILE"),
]
TriedMethods = Annotated[
    list[str] | None,
    typer.Option("--method", help="A file with your own methods to try too. Repeatable.", metavar="FILE.py"),
]
WriteTemplates = Annotated[bool, typer.Option("--write", help="Write a first file of templates, to edit.")]
CountedBackbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="Whose tokens are counted: an embedded name, a folder or a Hub id; default: minilm if it is here.",
        metavar="B",
    ),
]
Linear = Annotated[
    bool, typer.Option("--baseline/--no-baseline", help="Train a linear model on frozen features, in ten seconds.")
]

PlannedSuite = Annotated[
    str | None,
    typer.Argument(help="A suite, as for `run`; default: none with synthetic rows.", metavar="SUITE"),
]
Length = Annotated[
    int | None,
    typer.Option(
        help="Plan on synthetic rows of N tokens, special tokens included; default 128 for a preset.", metavar="N"
    ),
]
Choices = Annotated[int | None, typer.Option(help="Classes or answers per synthetic row; default 2.", metavar="N")]
AnswerLength = Annotated[int | None, typer.Option(help="Tokens per answer of a synthetic row; default 1.", metavar="N")]
Queries = Annotated[int | None, typer.Option(help="Synthetic rows to score; default 64.", metavar="N")]
PlannedWorkers = Annotated[
    int, typer.Option(help="Cells that will run at a time; saved with the plan, changes no number.", metavar="N", min=1)
]
DeviceMemory = Annotated[
    str | None,
    typer.Option(help="Report what fits into this much memory, and the largest batch: 24GB, 80GiB.", metavar="SIZE"),
]
Sweep = Annotated[str | None, typer.Option(help="Peak memory over batch=1,2,4 or length=64,128.", metavar="NAME=N,N")]
Paper = Annotated[
    str | None, typer.Option(help="Print a paper's cost tables next to ours: tfew2022, houlsby2019.", metavar="P")
]
Seconds = Annotated[
    bool | None,
    typer.Option(
        "--seconds/--no-seconds",
        help="Time operators on this machine and predict its run time; on unless --device-memory is given.",
    ),
]
PlanOut = Annotated[
    str | None,
    typer.Option(
        help="Save the plan in this results folder or fsspec URL; its report then shows it next to the measured costs."
    ),
]

Device = Annotated[str | None, typer.Option(help=OPTIONS["device"].help, metavar=OPTIONS["device"].metavar)]
Method = Annotated[str, typer.Option(help="The method to train, as spelled in records.", metavar="M")]
Backbone = Annotated[str, typer.Option(help="A language model: a folder or a Hub id.", metavar="B")]
MixtureTasks = Annotated[
    list[str] | None,
    typer.Option(help="docstrings/NAME, dir:FOLDER, hub:NAME or a FILE. Repeat it to mix several tasks.", metavar="T"),
]
MixtureTemplate = Annotated[
    str, typer.Option(help="A prompt template, or `all` templates whose answers can be ranked.", metavar="T")
]
RecipeSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A field of the recipe, such as steps=1000, or max_length=N. Repeatable.", metavar="KEY=VALUE"
    ),
]
Start = Annotated[Path, typer.Option(help="The safetensors file to write.", metavar="FILE")]
Cap = Annotated[int, typer.Option(help="The most rows per task, over all its templates.", metavar="N", min=1)]
Seed = Annotated[
    int,
    typer.Option(
        help="Seed for drawing and ordering rows, for initialisation and dropout.", metavar="N", min=0, max=2**32 - 1
    ),
]


def location(option: str, text: str) -> str:
    """A folder or fsspec URL, unchanged; UserError if it is blank or an invalid path."""
    try:
        folder = local_folder(text)
    except UserError as error:
        raise UserError(f"{option}: {error}") from error
    scheme, colon, rest = text.partition(":/")
    if folder is not None and colon and not rest.startswith("/") and scheme in known_protocols():
        url = f"{scheme}:///{rest}" if scheme in ("file", "local") else f"{scheme}://{rest}"
        raise UserError(f"{option}: {text} has a single slash after the colon; write {url}, or ./{text} for a folder.")
    return text
