"""The whole report as data: what every format shows, in order, computed once from the records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import Mistake
from reports import checks, filters, findings, measures, panels, provenance, tables, tuning, units
from reports.names import shortened, shots
from reports.spellings import unified
from reports.tables import Table, anchor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Record
    from reports.filters import Where
    from reports.panels import Panel


@dataclass(frozen=True)
class Runs:
    """The records behind an entry: one list a task, each with the id that numbers link to."""

    id: str
    label: str
    parts: tuple[tuple[str, Table], ...]

    @property
    def amount(self) -> str:
        """How many records, in words."""
        return units.plural(sum(len(table.rows) for _, table in self.parts), "record")


@dataclass(frozen=True)
class Page:
    """One panel in the report. `tag` is fit for file names and ids."""

    panel: Panel
    tag: str
    title: str
    lead: tuple[str, ...]
    scores: Table
    costs: tuple[Table, ...]
    runs: tuple[Runs, ...]


@dataclass(frozen=True)
class Report:
    """Everything that is shown. `records` are those left by the filter, `warnings` what a reader must know."""

    title: str
    subtitle: str
    lead: tuple[str, ...]
    warnings: tuple[str, ...]
    reading: tuple[tuple[str, str], ...]
    pages: tuple[Page, ...]
    background: tuple[Table, ...]
    absent: Table | None
    records: tuple[Record, ...]


def compose(records: Sequence[Record], where: Where = None, reference: str = "full") -> Report:
    """The report of these records; Mistake where they are none or do not compare. `reference` is a label."""
    if not records:
        raise Mistake("there are no records to report on; write some with `tunefront run --out FOLDER` first.")
    records = sorted(filters.select(unified(records), where), key=lambda record: record.key)
    ok = [record for record in records if record.status == "ok"]
    rest = [record for record in records if record.status != "ok"]
    checks.check(ok)
    selection = tuning.choose(ok)
    found = panels.build(selection, reference)
    names = shortened(record.task for record in records)
    backbones = shortened(record.backbone for record in records)
    pages = _pages(found, names, backbones, reference)
    background = _background(selection, names, backbones) if ok else []
    lead = [text for page in pages[:1] for text in page.lead]
    if not ok:
        lead = [f"Nothing could be scored: {_amounts(rest)}. The reasons are below."]
    return Report(
        "What does each way of adapting cost, and what does it give?",
        _subtitle(found, names, backbones, rest),
        tuple(lead),
        tuple(_warnings(found, selection, rest, ok, backbones)),
        tuple(findings.reading(found, names)),
        tuple(pages),
        tuple(background),
        provenance.absent(rest, names, backbones) if rest else None,
        tuple(records),
    )


def _pages(found: list[Panel], names: Mapping[str, str], backbones: Mapping[str, str], reference: str) -> list[Page]:
    pages = []
    for index, panel in enumerate(found):
        lists = []
        for e, entry in enumerate(panel.entries):
            parts = tuple(
                (anchor(index, e, t), provenance.runs(entry.records[task], names))
                for t, task in enumerate(panel.tasks)
                if task in entry.records
            )
            lists.append(Runs(anchor(index, e), entry.label, parts))
        pages.append(
            Page(
                panel,
                _tag(backbones[panel.backbone], panel.shots, index),
                _title(panel, found, backbones),
                tuple(findings.lead(panel, backbones[panel.backbone], len(found) > 1, reference)),
                tables.scores(panel, index, names),
                (tables.sizes(panel, index), tables.compute(panel, index)),
                tuple(lists),
            )
        )
    return pages


def _background(selection: tuning.Selection, names: Mapping[str, str], backbones: Mapping[str, str]) -> list[Table]:
    made = [provenance.choices(selection.choices, names, backbones)] if selection.choices else []
    kept = selection.records
    return [*made, provenance.facts(kept), provenance.tasks(kept, names), provenance.recipes(kept)]


def _warnings(
    found: list[Panel],
    selection: tuning.Selection,
    rest: list[Record],
    ok: list[Record],
    backbones: Mapping[str, str],
) -> list[str]:
    """What a reader must know before trusting the numbers."""
    texts = []
    for panel in found:
        where = f" on {_title(panel, found, backbones)}" if len(found) > 1 else ""
        trials = sorted({entry.trials for entry in panel.entries})
        if len(trials) > 1:
            listed = ", ".join(f"{entry.label} {entry.trials}" for entry in panel.entries)
            texts.append(f"Unequal tuning budget{where}: the number of recipes tried differs ({listed}).")
        partial = [entry.label for entry in panel.entries if entry.average(panel.tasks) is None]
        if partial:
            texts.append(f"Not every task has a score{where} for {', '.join(partial)}; they have no average.")
        runs = {len(entry.scores(task)) for entry in panel.entries for task in panel.tasks} - {0}
        if len(runs) > 1:
            texts.append(f"Methods or tasks differ in the number of runs{where} ({min(runs)} to {max(runs)}).")
        if panel.uneven:
            texts.append(f"Seconds{where} were measured under different conditions and are left out: {panel.uneven}.")
    edges = sorted({choice.label for choice in selection.choices if choice.edges})
    if edges:
        texts.append(f"The chosen recipe lies on the edge of its range for {', '.join(edges)}; widen the range.")
    fewer = sorted({choice.label for choice in selection.choices if choice.incomplete})
    if fewer:
        texts.append(f"Trials that lack some runs were not eligible when recipes were chosen for {', '.join(fewer)}.")
    blank = sum(not units.finite(record.score) for record in ok)
    if blank:
        texts.append(f"{units.plural(blank, 'record has', 'records have')} no finite score and count nowhere.")
    cut = sum((record.truncated_test or 0) > 0.05 * (record.n_test or 1) for record in ok)
    if cut:
        texts.append(f"In {units.plural(cut, 'run')} more than 5 % of the scored rows were cut to max_length.")
    if rest:
        texts.append(f"{_amounts(rest)}; the reasons are below.".capitalize())
    return texts


def _amounts(rest: list[Record]) -> str:
    skipped = sum(record.status == "skipped" for record in rest)
    failed = len(rest) - skipped
    parts = [units.plural(skipped, "cell was skipped", "cells were skipped")] if skipped else []
    parts += [units.plural(failed, "cell failed", "cells failed")] if failed else []
    return " and ".join(parts)


def _subtitle(found: list[Panel], names: Mapping[str, str], backbones: Mapping[str, str], rest: list[Record]) -> str:
    if not found:
        return f"{units.plural(len(rest), 'cell')}, none with a score"
    methods = len({entry.label for panel in found for entry in panel.entries})
    tasks = len({task for panel in found for task in panel.tasks})
    models = list(dict.fromkeys(backbones[panel.backbone] for panel in found))
    on = ", ".join(models) if len(models) < 4 else units.plural(len(models), "backbone")
    amount = sum(len(panel.records) for panel in found)
    return f"{units.plural(methods, 'method')} on {on}, {units.plural(tasks, 'task')}, {units.plural(amount, 'run')}"


def _title(panel: Panel, found: list[Panel], backbones: Mapping[str, str]) -> str:
    alone = sum(other.backbone == panel.backbone for other in found) == 1
    return backbones[panel.backbone] + ("" if alone and panel.shots is None else f", {shots(panel.shots)}")


def _tag(backbone: str, amount: int | None, index: int) -> str:
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in backbone).strip("-").lower()[:40] or "backbone"
    return f"{index + 1}-{plain}" + ("" if amount is None else f"-{amount}-rows")


def shown_costs(panel: Panel) -> list[measures.Cost]:
    """The costs that have at least one point to draw in this panel."""
    scored = [entry for entry in panel.entries if panel.heights(entry)]
    return [cost for cost in measures.drawn(panel) if any(cost.of(panel, entry) is not None for entry in scored)]
