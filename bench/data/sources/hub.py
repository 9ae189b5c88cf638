"""Tasks `hub:<dataset>[/<config>]`: the Hugging Face Hub through `datasets`; remote code is never allowed.

One part is a dataset (`hub:imdb`), three parts are owner, dataset and configuration (`hub:nyu-mll/glue/sst2`). Two
parts are owner and dataset (`hub:cornell-movie-review-data/rotten_tomatoes`) if the Hub has such a dataset, else
dataset and configuration (`hub:glue/sst2`).

Classes come from a ClassLabel column, else they are inferred as for a folder (see `schema`). A split whose labels are
all hidden (-1) is left out. Loaded tasks are cached by name and not requested again: delete the entry to refresh.
`datasets` would also read a folder of the dataset's name in the working folder; here a name always means the Hub.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.data.cache import folder, load_cached, load_or_make, task_path
from tunefront.bench.data.metrics import default_metrics
from tunefront.bench.data.sources.advice import HUB
from tunefront.bench.data.sources.declared import without_unlabelled
from tunefront.bench.data.sources.limits import Budget, Unreadable
from tunefront.bench.data.sources.meta import Meta
from tunefront.bench.data.sources.reach import hub_reachability
from tunefront.bench.data.sources.reading import without_index
from tunefront.bench.data.sources.rows import empty_notes, read_rows
from tunefront.bench.data.sources.schema import infer_schema
from tunefront.bench.data.sources.tables import Problems, Table
from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation", "test": "test"}
"""Split names on the Hub -> our names."""
_LABELS = ("label", "labels", "answerKey")
_PART = re.compile(r"[\w-][\w.-]*", re.ASCII)
_MADE_BY = (
    *(
        "hub",
        "advice",
        "arrow_file",
        "arrow_columns",
        "reading",
        "declared",
        "schema",
        "rows",
        "labels",
        "doubts",
        "columns",
        "choices",
    ),
)
_BATCH_ROWS = 1000


def load(spelled: str) -> Task:
    """The task `hub:<spelled>`, from the cache or the Hub.

    Errors: UserError for an unknown dataset or configuration, no network, no label column, or no split to score.
    """
    name = f"hub:{spelled}"
    return load_or_make(_path(name), lambda: _task(name, spelled))


def preview(spelled: str) -> Task:
    """The cached task; otherwise a classification task without rows, with a warning.

    Errors: UserError if the name is no dataset.
    """
    name = f"hub:{spelled}"
    dataset, _ = spellings(spelled)[0]
    if (cached := load_cached(_path(name))) is not None:
        return cached
    _refuse_local(name, dataset)
    guess = f"{name} is not downloaded yet: its cells are listed as those of a classification task"
    return Task(name, "classification", {}, (), (), default_metrics("classification"), warnings=(guess,))


def _path(name: str) -> Path:
    code = b"".join((Path(__file__).parent / f"{module}.py").read_bytes() for module in _MADE_BY)
    return task_path(name, {"code": hashlib.sha256(code).hexdigest()})


def spellings(spelled: str) -> list[tuple[str, str | None]]:
    """The (dataset, configuration) pairs that a name may mean, in the order to try.

    >>> spellings("glue/sst2")
    [('glue/sst2', None), ('glue', 'sst2')]
    """
    parts = spelled.split("/")
    if not 1 <= len(parts) <= 3 or not all(map(_PART.fullmatch, parts[:2])) or not parts[-1]:
        raise UserError(
            f"hub:{spelled} is no dataset name; write hub:<dataset>, hub:<owner>/<dataset> or "
            "hub:<owner>/<dataset>/<config>."
        )
    if len(parts) == 3:
        return [("/".join(parts[:2]), parts[2])]
    return [(spelled, None), (parts[0], parts[1])] if len(parts) == 2 else [(spelled, None)]


def _task(name: str, spelled: str) -> Task:
    loaded = _downloaded(name, spelled)
    problems, budget = Problems(advice=HUB), Budget.from_environment()
    tables, notes = dict[str, Table](), []
    for hub_split, data in loaded.items():
        split = SPLITS.get(hub_split)
        if split and split not in tables and len(data):
            try:
                tables[split] = _table(Path(f"{name}, {hub_split}"), data, budget)
            except Unreadable as error:
                raise UserError(str(error)) from None
            notes += [f"{split}: {note}" for note in tables[split].notes]
    if "train" not in tables:
        raise UserError(_lacking(name, loaded))
    train = tables["train"]
    label = next((column for column in _LABELS if column in train.columns), _LABELS[0])
    classes = next((list(table.class_names[label]) for table in tables.values() if label in table.class_names), None)
    schema = infer_schema(train, Meta(label_field=label, label_names=classes), problems, tables)
    if schema is not None:
        tables, hidden = without_unlabelled(tables, schema, Problems())
        notes += hidden
    if len(tables) < 2:
        raise UserError(_lacking(name, loaded))
    splits = {split: read_rows(table, schema, problems) for split, table in tables.items()} if schema else {}
    problems.raise_any()
    assert schema is not None  # else that is a problem, raised above
    metrics = default_metrics(schema.kind)
    return Task(
        name,
        schema.kind,
        splits,
        schema.input_fields,
        schema.label_names,
        metrics,
        left_out=schema.left_out,
        notes=tuple(dict.fromkeys([*notes, *schema.notes, *empty_notes(splits, schema)])),
        warnings=tuple(f"{name}: {warning}" for warning in schema.warnings),
    )


def _lacking(name: str, loaded: Mapping[str, Any]) -> str:
    return (
        f"{name} needs a train split, and a validation or test split whose labels are public; found: "
        f"{', '.join(loaded) or 'none'}. Provide such data as a local folder: dir:<path>."
    )


def _table(place: Path, data: Any, budget: Budget) -> Table:  # Any: a Dataset; datasets has no types
    from tunefront.bench.data.sources.arrow_file import read_batches

    arrow = data.with_format("arrow")
    schema = data.features.arrow_schema
    notes: list[str] = []
    columns, records, classes = read_batches(place, schema, arrow.iter(_BATCH_ROWS), budget, _LABELS, notes)
    places = [f"{place}, row {number}" for number in range(len(records))]
    table = Table(place, tuple(columns), records, places, class_names=classes, notes=tuple(notes))
    return without_index(table, _LABELS)


def _downloaded(name: str, spelled: str) -> Mapping[str, Any]:  # a DatasetDict; datasets has no types
    """Split -> data, of the first (dataset, configuration) that the Hub knows."""
    import datasets

    for dataset, config in spellings(spelled):
        _refuse_local(name, dataset)
        with hub_reachability() as unreachable:
            try:
                loaded: Mapping[str, Any] = datasets.load_dataset(
                    dataset, config, cache_dir=str(folder("hub") / "datasets")
                )
            except datasets.exceptions.DatasetNotFoundError:
                if unreachable is None:
                    continue
                raise UserError(_out_of_reach(name, unreachable)) from unreachable
            except (OSError, RuntimeError, ValueError) as error:
                message = _explained(name, error) if unreachable is None else _out_of_reach(name, unreachable)
                raise UserError(message) from error
        return loaded
    raise UserError(
        f"the Hub has no public dataset {name}; look it up on huggingface.co/datasets "
        "(a private one needs HF_TOKEN), or provide the rows as a folder: dir:<path>."
    )


def _refuse_local(name: str, dataset: str) -> None:
    """UserError if `datasets` would read local files of that name, or use one of its own file readers."""
    if os.path.lexists(dataset):
        raise UserError(
            f"{name} means a dataset of the Hub, but {os.path.abspath(dataset)} exists too and would be read instead. "
            f"For the local folder write dir:{dataset}; for the Hub's dataset, run from another folder."
        )
    library = find_spec("datasets")  # located, not imported: that takes seconds
    places = [f"{place}/packaged_modules" for place in (library and library.submodule_search_locations) or ()]
    if dataset in {module.name for module in pkgutil.iter_modules(places)}:
        raise UserError(
            f"{name}: {dataset!r} is a reader of local files, not a dataset; dir:<path> reads a local folder."
        )


def _explained(name: str, error: Exception) -> str:
    reasons = [" ".join(str(each).split()) for each in _chain(error)]
    if any(isinstance(each, ConnectionError) or "offline" in str(each).lower() for each in _chain(error)):
        return _out_of_reach(name, error)
    if "dataset scripts" in reasons[0].lower() or "trust_remote_code" in reasons[0]:
        return (
            f"{name} would need code from the Hub, which is never run; look for a Parquet copy on "
            "huggingface.co/datasets, or provide the rows as a folder: dir:<path>."
        )
    if "config" in reasons[0].lower():
        return f"{name}: {reasons[0][:600]} Write the configuration as the last part: hub:<owner>/<dataset>/<config>."
    return f"{name} cannot be loaded ({type(error).__name__}: {reasons[0][:300]}); dir:<path> reads rows from a folder."


def _out_of_reach(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return (
        f"{name} cannot be loaded: the Hub is unreachable ({reason}). Without a network use the embedded tasks "
        "(docstrings/<task>) or a folder (dir:<path>); with one, check that HF_HUB_OFFLINE is not set."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
