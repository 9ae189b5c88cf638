"""What the interactive parts of the HTML page show, as columns of numbers and texts: methods, views and records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from tunefront.bench.records import leaves
from tunefront.bench.records.frame import to_frame
from tunefront.reports import units
from tunefront.reports.compare import measures
from tunefront.reports.compare.panels import on_task
from tunefront.reports.compare.query_prices import price_costs
from tunefront.reports.names import describe_shots, make_visible
from tunefront.reports.plots.style import place_of
from tunefront.reports.sections.certainty_words import interval_text, probability
from tunefront.reports.tables import anchor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.measures import Cost
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.uncertainty.contrasts import Interval
    from tunefront.reports.sections.document import Page, Report

Json = Any  # what json.dumps takes
DIGITS = 10
"""Significant digits of a number in the page; the record's file has all of them."""
LONGEST = 300
"""Longer texts of a record are cut in the page."""


@dataclass(frozen=True)
class PageData:
    """The data of a page. `text` is JSON that contains no `<`; `rows` is the place of each record, by key."""

    text: str
    rows: Mapping[str, int]


def page_data(report: Report) -> PageData:
    """The methods of every panel, by task, and all records, each number once."""
    rows = {record.key: place for place, record in enumerate(report.records)}
    links: dict[str, list[int]] = {}
    for index, page in enumerate(report.pages):
        for e, entry in enumerate(page.panel.entries):
            links[anchor(index, e)] = [rows[record.key] for record in entry.all]
            for t, task in enumerate(page.panel.tasks):
                if task in entry.records:
                    links[anchor(index, e, t)] = [rows[record.key] for record in entry.records[task]]
    content = {
        "panels": [_panel(page, index) for index, page in enumerate(report.pages)],
        "links": links,
        "records": _records(report),
    }
    return PageData(embed(content), rows)


def embed(content: Json) -> str:
    """JSON for a script element: no text in it can end the element or start a comment.

    >>> embed({"label": "</script><!--"})
    '{"label":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _panel(page: Page, index: int) -> Json:
    panel = page.panel
    costs = measures.axis_costs(panel, price_costs(page.prices))
    views = [_view(panel, panel, costs, index, None)]
    if len(panel.tasks) > 1:
        views += [_view(panel, on_task(panel, task), costs, index, t) for t, task in enumerate(panel.tasks)]
    return {
        "title": page.title,
        "backbone": make_visible(panel.backbone),
        "shots": describe_shots(panel.shots),
        "metric": panel.metric,
        "reference": None if panel.reference is None or not panel.relative_tasks else panel.reference.label,
        "tasks": [page.names[task] for task in panel.tasks],
        "costs": [{"title": cost.title, "unit": cost.unit, "id": cost.field} for cost in costs],
        "methods": {
            "label": [entry.label for entry in panel.entries],
            "style": [place_of(entry.family) for entry in panel.entries],
            "collapsed": [entry.collapsed.words if entry.collapsed else "" for entry in panel.entries],
            "mostly": [entry.collapsed.mostly for entry in panel.entries],
        },
        "choice": page.answer.label,
        "views": views,
    }


def _view(whole: Panel, panel: Panel, costs: Sequence[Cost], index: int, task: int | None) -> Json:
    """The scores and costs of the panel's methods on all tasks, or on one; None for a method that has none there."""
    here = {entry.label: entry for entry in panel.entries}
    entries = [here.get(entry.label) for entry in whole.entries]
    known, relative = panel.evidence, bool(panel.relative_tasks)
    means = [_mean(panel, entry) for entry in entries]
    gaps = [_gap(panel, entry) if relative else None for entry in entries]
    values = [[None if entry is None else cost.median(panel, entry) for entry in entries] for cost in costs]
    labels = [entry.label for entry in whole.entries]
    fronts: list[list[float | None]] = [[None] * len(labels) for _ in costs]
    if known is not None:
        order = [labels.index(label) for label in known.labels]
        found = known.fronts([[row[place] for place in order] for row in values])
        fronts = [[dict(zip(known.labels, shares, strict=True)).get(label) for label in labels] for shares in found]
    return {
        "score": _heights(means, mean=True),
        "gap": _heights(gaps, mean=False),
        "tied": [entry is not None and panel.is_tied(entry) for entry in entries],
        "whole": [entry is not None and panel.covers(entry) for entry in entries],
        "bars": "" if known is None else _meaning(known),
        "chance": [[probability(share) for share in row] for row in fronts],
        "share": [[_short(share) for share in row] for row in fronts],
        "cost": [[_short(value) for value in row] for row in values],
        "text": [[cost.text(value) for value in row] for cost, row in zip(costs, values, strict=True)],
        "link": [anchor(index, e, task) for e in range(len(whole.entries))],
    }


def _meaning(known: Evidence) -> str:
    """What the intervals are about."""
    return "checkpoints" if known.estimate.checkpoints_only else "rows" if known.rows_alone else "methods"


DERIVED = {
    "score": "the headline metric on the scored split",
    "selection_score": "the headline metric on the selection rows",
    "task_bytes": "bytes to keep for the task in addition to the backbone: its checkpoint and its demonstrations",
    "results": "the results folder that the record is from",
}
"""Columns that are no fields of a record, and what they mean."""
Height = tuple[float, "Interval | None"]


def _mean(panel: Panel, entry: Entry | None) -> Height | None:
    """The mean score in points over the panel's tasks, of an entry without all of them over those that it has."""
    if entry is None:
        return None
    known, place = panel.evidence, None if panel.evidence is None else panel.evidence.index(entry.label)
    if known is not None and place is not None and set(known.tasks) == set(panel.tasks):
        return float(known.estimate.means[place]), known.means[place]
    scored = [center for task in panel.tasks if (center := entry.center(task)) is not None]
    return (100 * sum(scored) / len(scored), None) if scored else None


def _gap(panel: Panel, entry: Entry | None) -> Height | None:
    """The difference to the reference in points, as the static plot draws it."""
    height = None if entry is None else panel.height(entry)
    if entry is None or height is None:
        return None
    return height.value, panel.interval(entry)


def _heights(found: Sequence[Height | None], mean: bool) -> Json:
    """Means or differences with the ends of their intervals, and as texts."""
    text = (lambda value: units.points(value / 100)) if mean else units.signed
    bounds = [None if one is None else one[1] for one in found]
    return {
        "value": [None if one is None else _short(one[0]) for one in found],
        "low": [None if bound is None else _short(bound.low) for bound in bounds],
        "high": [None if bound is None else _short(bound.high) for bound in bounds],
        "text": [units.MISSING if one is None else text(one[0]) for one in found],
        "interval": ["" if bound is None else interval_text(bound, mean) for bound in bounds],
    }


def _records(report: Report) -> Json:
    """All fields of all records, one column each: a value that repeats is kept once. `about` says what fields mean."""
    frame = to_frame(report.records, report.folders or None)
    described = leaves()
    columns: dict[str, Json] = {}
    about = dict(DERIVED)
    for name in map(str, frame.columns):
        found = _column(frame[name])
        if found is None:
            continue
        columns[name] = found
        field = next((known for known in _parents(name) if known in described), None)
        if field is not None and described[field].description:
            about[field] = described[field].description or ""
    return {"count": len(report.records), "columns": columns, "about": about}


def _parents(name: str) -> list[str]:
    """The name and the fields that it may be a part of, from the longest.

    >>> _parents("flops.phases.forward.counted")
    ['flops.phases.forward.counted', 'flops.phases.forward', 'flops.phases', 'flops']
    """
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _column(values: pd.Series[Any]) -> Json:
    """The distinct values of a field and, if there are several, the place of each record's; None if all are missing."""
    codes, distinct = pd.factorize(values.map(_hashable), use_na_sentinel=True)
    if not len(distinct):
        return None
    shown = [_shown(value) for value in distinct]
    if len(distinct) == 1 and (codes == 0).all():
        return {"v": shown}
    if len(distinct) == len(values):
        return {"v": shown, "all": True}
    return {"v": shown, "i": codes.tolist()}


def _hashable(value: object) -> object:
    """A value that can be counted: lists and mappings as text."""
    return str(value) if isinstance(value, list | tuple | dict | set) else value


def _shown(value: object) -> Json:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return _short(value) if units.finite(value) else make_visible(str(value))
    text = make_visible(str(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _short(value: float | None) -> float | int | None:
    """A number without digits that nobody reads; None for one that is missing, infinite or impossibly large."""
    if not units.finite(value):
        return None
    if isinstance(value, int) or float(value).is_integer():
        return int(value)
    return float(f"{value:.{DIGITS}g}")
