"""What `tunefront run` prints when it ends: the summary, what to be careful about, and where the report is.

Results go to standard output; warnings and failures go to standard error, after the table that they are about and
before the last lines, which stay in sight.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.bench.cli.console import Console, paragraph, print_plain
from tunefront.bench.cli.progress import plural
from tunefront.bench.errors import printable

if TYPE_CHECKING:
    from tunefront.bench.cli.titles import Titles
    from tunefront.bench.execution.grid import Outcome
    from tunefront.bench.records import Record
    from tunefront.bench.records.answers import AnswerFiles

NAMED = 4
"""The most methods or tasks that are named for a reason; further ones are counted."""
_ROW = re.compile(r"row '[^']*'")


def show_summary(
    outcome: Outcome, predictions: AnswerFiles, console: Console, errors: Console, whole: bool = True
) -> None:
    """Prints the table on `console`, then its warnings on `errors`; none unless the cells are those of a whole run, as
    most are about what is missing in a comparison."""
    from tunefront.reports.sections.summary import summary_table

    summary = summary_table(outcome.records, predictions=predictions)
    if console.is_terminal:
        console.print()  # cells are above
    console.print(summary)
    for text in summary.warnings if whole else ():
        print_plain(errors, f"warning: {text}", "yellow")


def show_studies(outcome: Outcome, predictions: AnswerFiles, console: Console) -> None:
    """Prints what each study found, and its first table."""
    from tunefront.reports.sections.studies.collect import studies_of

    for study in studies_of(outcome.records, predictions):
        from tunefront.reports.formats.terminal import Fitted

        console.print()
        for text in study.intro[1:]:
            print_plain(console, text)
        for table in study.tables[:1]:
            console.print(
                Fitted(replace(table, caption=f"{study.title}: {table.caption[:1].lower()}{table.caption[1:]}"))
            )


def show_not_run(records: Sequence[Record], titles: Titles, errors: Console) -> None:
    """Prints why cells were skipped or failed: a reason once, with the cells that it stopped."""
    from rich.text import Text

    for status, style in (("skipped", "yellow"), ("failed", "red")):
        groups: dict[str, list[Record]] = {}
        for record in records:
            if record.status == status:
                groups.setdefault(_ROW.sub("row", record.reason or ""), []).append(record)
        for group in groups.values():
            text = f"{status}: {_named(group, titles)}: {group[0].reason or 'no reason given'}"
            paragraph(errors, Text(printable(text), style))


def _named(records: Sequence[Record], titles: Titles) -> str:
    """The cells that share a reason: the only one by its title, several by their methods and tasks."""
    if len(records) == 1:
        return str(titles.of_record(records[0]))
    methods = _listed([record.label for record in records])
    tasks = _listed([titles.tasks.get(record.task, record.task) for record in records])
    backbones = _listed([titles.backbones.get(record.backbone, record.backbone) for record in records])
    where = f" with {backbones}" if len(titles.backbones) > 1 else ""
    return f"{methods} on {tasks}{where} ({len(records):,} cells)"


def _listed(names: Sequence[str]) -> str:
    """The first few names, each once, and the number of further ones."""
    each = list(dict.fromkeys(names))
    more = f" and {len(each) - NAMED:,} more" if len(each) > NAMED else ""
    return f"{', '.join(each[:NAMED])}{more}"


def show_counts(outcome: Outcome, taken: str, console: Console) -> None:
    """Prints how many cells ran, and for how long."""
    ok = len(outcome.records) - outcome.skipped - outcome.failed
    kinds = [(ok, "ok"), (outcome.skipped, "skipped"), (outcome.failed, "failed")]
    listed = ", ".join(f"{count:,} {kind}" for count, kind in kinds if count)
    amount = "all" if outcome.reused == len(outcome.records) > 1 else f"{outcome.reused:,}"
    recorded = f"; {amount} of them recorded before" if outcome.reused else ""
    print_plain(console, f"{plural(len(outcome.records), 'cell')}: {listed}{recorded}{taken}.")
