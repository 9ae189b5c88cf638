"""All checks of a task, in one result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tunefront.bench.check.baseline import baseline_findings, baselines
from tunefront.bench.check.columns import columns_of
from tunefront.bench.check.findings import Check, Finding
from tunefront.bench.check.labels import label_findings, labels_of, values_of
from tunefront.bench.check.languages import MOST_ROWS as LANGUAGE_ROWS
from tunefront.bench.check.languages import language_findings
from tunefront.bench.check.leaks import MOST_ROWS as LEAK_ROWS
from tunefront.bench.check.leaks import leaks, written_labels
from tunefront.bench.check.lengths import default_backbone, length_findings
from tunefront.bench.check.power import power
from tunefront.bench.check.texts import text_findings
from tunefront.bench.data.overlap import overlap_warnings
from tunefront.bench.data.sources import load_task, names_a_task
from tunefront.bench.data.sources.doubts import look_alike_warning, look_alikes
from tunefront.bench.data.sources.file_name import OPTIONS, is_file_name, spelled
from tunefront.bench.data.sources.own_names import names_of
from tunefront.bench.data.sources.split_names import SPLITS
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from tunefront.bench.data.sources.tables import Reading
    from tunefront.bench.data.task import Task

_ORDER = ("overlap", "written label", "reading", "leak")
"""Kinds of warnings that come first."""


def name_of(data: object, options: Mapping[str, Any]) -> str:  # Any: texts and lists of them
    """The name of the task that DATA means: a file, folder or DataFrame with these options, or a task's name.

    Errors: UserError for options with the name of a task, and as `names_of`.
    """
    if isinstance(data, str) and names_a_task(data, bool(options)):
        if options:
            raise UserError(
                f"{' and '.join(f'--{option}' for option in options)}: {data} is the name of a task, which says how it "
                "is read; give the path of a file or folder, or a name such as 'file:PATH?label=COLUMN'."
            )
        return spelled(data)
    (name,) = names_of([data], options)
    return name


def inspect(
    data: object,
    options: Mapping[str, Any] | None = None,  # Any: as in `name_of`
    backbone: str | None = None,
    linear: bool = True,
    on_status: Callable[[str], None] = lambda _: None,
) -> Check:
    """Reads a task and looks for what is odd about it.

    Args: data and options, as in `name_of`; backbone, whose tokens and room count, by default minilm if it is here;
    linear, whether to train the linear baseline; on_status, called with what is being done.
    Errors: UserError if nothing can run: unreadable data, no task in it, an unusable backbone.
    """
    begun = time.perf_counter()
    options = {name: value for name, value in (options or {}).items() if value is not None}
    unknown = options.keys() - set(OPTIONS)
    assert not unknown, unknown
    name = name_of(data, options)
    if backbone is not None:
        from tunefront.bench.models.config import check_backbone

        check_backbone(backbone)
    on_status(f"reading {name}")
    task, reading = _read(name)
    on_status("looking at texts and labels")
    columns = columns_of(task, reading)
    found = _from_reading(task, () if reading is not None else overlap_warnings(task))
    facts, more = text_findings(task)
    found += more
    labels = labels_of(task)
    found += [*label_findings(task, labels), *written_labels(task)]
    if reading is not None:
        found += leaks(reading)
        guessed, looked_at = tuple(reading.task.guessed), len(reading.tables["train"].records)
        del reading  # the tables of a million rows are most of the memory
    else:
        guessed, looked_at = (), 0
    on_status("counting tokens")
    counted = backbone or default_backbone(task.kind)
    mixed, more = language_findings(task, counted)
    found += more
    lengths, more = length_findings(task, counted)
    found += more
    on_status("training a linear baseline")
    baseline = baselines(task, _encoder(counted), linear)
    found += baseline_findings(task, baseline)
    rows = {split: len(rows) for split, rows in task.splits.items()}
    return Check(
        name=task.name,
        kind=task.kind,
        rows=rows,
        scored=task.eval_split,
        metric=task.headline,
        notes=task.notes,
        guessed=guessed,
        columns=columns,
        labels=labels,
        values=values_of(task),
        lengths=lengths,
        texts={**facts, **mixed},
        baseline=baseline,
        power=power(task, baseline),
        findings=tuple(sorted(found, key=_place)),
        looked_at={
            "columns": min(LEAK_ROWS, looked_at),
            "languages": min(LANGUAGE_ROWS, sum(rows.values())),
            "lengths": lengths.rows,
        },
        seconds=round(time.perf_counter() - begun, 2),
        peak_memory_bytes=_peak(),
    )


def _read(name: str) -> tuple[Task, Reading | None]:
    """The task, and its files where it has some."""
    if is_file_name(name):
        from tunefront.bench.data.sources import own_file

        reading = own_file.read(name)
        return reading.task, reading
    if name.startswith("dir:"):
        from tunefront.bench.data.sources import folder

        reading = folder.read(name.removeprefix("dir:"))
        return reading.task, reading
    return load_task(name), None


def _from_reading(task: Task, counted: Collection[str]) -> list[Finding]:
    """The warnings of the reader, without those that are `counted` here too, and splits that it leaves out."""
    texts = [warning.removeprefix(f"{task.name}: ") for warning in task.warnings if warning not in counted]
    alike = set(map(look_alike_warning, look_alikes(task.label_names)))
    texts = [text for text in texts if text not in alike]
    left_out = [note for note in task.notes if note.partition(" left out: ")[0] in SPLITS]
    return [Finding("reading", "warning", text) for text in (*texts, *left_out)]


def _encoder(backbone: str | None) -> str | None:
    """The backbone of the linear baseline: the given one if it is an encoder, else minilm if it is here."""
    from tunefront.bench.models.config import family_of

    if backbone is not None and family_of(backbone) == "encoder":
        return backbone
    return default_backbone()


def _place(finding: Finding) -> tuple[bool, int]:
    return finding.level != "warning", _ORDER.index(finding.kind) if finding.kind in _ORDER else len(_ORDER)


def _peak() -> int | None:
    """The largest resident memory of this process so far, in bytes; None where the system does not say."""
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None
