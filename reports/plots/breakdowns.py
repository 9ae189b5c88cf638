"""The plots of the ledgers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.query_costs import MEASURES, WITHOUT_CACHE, compare_ways
from tunefront.reports.costs import memory, steps, storage
from tunefront.reports.costs.train_or_prompt import panel_ways
from tunefront.reports.plots import bars, curves, style
from tunefront.reports.plots.bars import Part, Stack
from tunefront.reports.plots.curves import Curve, Titles
from tunefront.reports.plots.picture import Picture
from tunefront.reports.plots.tradeoff import family_styles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.query_costs import Pair, Way
    from tunefront.reports.sections.document import Page

COLOURS = {
    "frozen_weights": style.SOFT,
    "trained_weights": style.FAMILIES[0],
    "gradients": style.FAMILIES[1],
    "optimizer_state": style.FAMILIES[4],
    "saved_activations": style.FAMILIES[2],
    "kv_cache": style.FAMILIES[3],
    "features_cache": style.FAMILIES[6],
    "inputs": style.FAMILIES[7],
    "temporary": style.RULE,
}
"""Whose a part of a bar is."""
TASKS = (1, 2, 3, 5, 9, 15, 25, 50, 100)
DRAWN_TASKS = 2
"""Break-even is drawn for so many tasks of a panel; the tables have all of them."""
FARTHEST = 1e9
"""Queries up to which curves are drawn; where they meet later only the table tells."""
SMALL, WIDE = (4.1, 3.3), 7.4
"""Inches: a small plot, and the width of the page."""
FONT = 8.5


def pictures(page: Page, narrow: bool = True) -> list[Picture]:
    """The plots of all ledgers of a panel; `narrow`, with those for small screens."""
    drawers = {"storage": _storage, "break-even": _break_even, "memory": _memory, "time": _time}
    shown = [ledger.tag for ledger in page.ledgers if ledger.tag in drawers]
    return [picture for tag in shown for picture in drawers[tag](page, narrow)]


def _storage(page: Page, narrow: bool) -> list[Picture]:
    """Bytes and parameters over the number of tasks."""
    styles = family_styles(page.panel)

    def curve(entry: Entry, total: Callable[..., int | None], *cache: bool) -> Curve:
        label = entry.label + (", cache kept" if any(cache) else "")
        points = _over(TASKS, lambda tasks: entry.median(lambda record: total(record, int(tasks), *cache)))
        return Curve(label, styles[entry.family][0], points, any(cache))

    entries = page.panel.entries
    files = [curve(entry, storage.total_bytes, cache) for entry in entries for cache in storage.cache_options(entry)]
    sizes = [curve(entry, storage.total_params) for entry in entries]
    pictures = []
    for kind, up, unit, known in (
        ("Bytes", "Bytes in all", "B", files),
        ("Parameters", "Parameters in all", "", sizes),
    ):
        drawn = [known_curve for known_curve in known if known_curve.points]
        if not drawn:
            continue
        figure = curves.draw(drawn, Titles("Tasks", up, unit), SMALL, FONT)
        ends = [f"{c.label} {units.si(c.points[0][1], unit)} and {units.si(c.points[-1][1], unit)}" for c in drawn]
        title = f"{kind} of N tasks"
        alt = f"{title} on {page.title}, for 1 and for {TASKS[-1]} tasks: {'; '.join(ends)}."
        note = "Dashed: with the prefix cache." if any(curve.dashed for curve in drawn) else ""
        name = f"{page.tag}-{kind.lower()}-of-tasks"
        pictures.append(Picture(name, title, alt, note, figure, wide=False, ledger="storage"))
    return pictures


def _break_even(page: Page, narrow: bool) -> list[Picture]:
    """What queries cost together, by each way of answering them."""
    everything = panel_ways(page.panel, page.names)
    several = len(everything) > 1
    pictures = []
    for number, (task, ways) in enumerate(list(everything.items())[:DRAWN_TASKS]):
        for measure in MEASURES:
            if measure == "seconds" and page.panel.timing_mismatch:
                continue
            crossings = [pair for pair in compare_ways(ways, measure) if pair.crossing.queries is not None]
            drawn, marks, farthest = _cumulative(page.panel, ways, measure)
            if not crossings and not compare_ways(ways, measure):
                continue
            what = {"flops": "FLOPs", "seconds": "Seconds"}[measure]
            title = f"{what} for training and n queries" + (f", {task}" if several else "")
            unit = {"flops": "", "seconds": "s"}[measure]
            figure = curves.draw(drawn, Titles("Queries n", f"{what} together", unit), SMALL, FONT, marks)
            met = [f"{p.trained.label} and {p.prompted.name} at {_place(p, measure)}" for p in crossings]
            where = f"The same is spent on {'; '.join(met)}." if met else "No two of them meet."
            text = units.instant if measure == "seconds" else units.si
            ends = "; ".join(f"{curve.label} {text(curve.points[-1][1])}" for curve in drawn)
            alt = f"{title} on {page.title}, after {farthest:,.0f} queries: {ends}. {where}"
            circles = "Circle: training has cost the same as the prompt." if marks else ""
            dashes = "Dashed: demonstrations read anew." if any(curve.dashed for curve in drawn) else ""
            note = " ".join(filter(None, (circles, dashes)))
            name = f"{page.tag}-break-even-{measure}" + (f"-{number + 1}" if several else "")
            pictures.append(Picture(name, title, alt, note, figure, wide=False, ledger="break-even"))
    return pictures


def _place(pair: Pair, measure: str) -> str:
    """At how many queries two ways meet, in words."""
    words = pair.crossing.rough if measure == "seconds" else pair.crossing.words
    return words.removeprefix("after ").removeprefix("up to ")


def _cumulative(
    panel: Panel, ways: Sequence[Way], measure: str
) -> tuple[list[Curve], list[tuple[float, float, str]], float]:
    """The curves of all ways, circles where trained and prompted ones meet, and how far the plot reaches."""
    styles = family_styles(panel)
    colours = {entry.label: styles[entry.family][0] for entry in panel.entries}
    met = [pair for pair in compare_ways(ways, measure) if pair.crossing.queries is not None]
    near = [pair for pair in met if pair.crossing.queries and pair.crossing.queries <= FARTHEST]
    farthest = max([1000.0, *(5 * (pair.crossing.queries or 0) for pair in near)])
    places = [farthest ** (i / 60) for i in range(61)]
    drawn = []
    for way in ways:
        line = way.line(measure)
        if line is not None:
            points = _over(places, line.at)
            drawn += [Curve(way.name, colours[way.label], points, way.how == WITHOUT_CACHE)] if points else []
    marks = []
    for pair in near:
        meet = pair.crossing.queries
        if meet is not None:
            marks.append((meet, pair.cost.at(meet), colours[pair.trained.label]))
    return drawn, marks, farthest


def _memory(page: Page, narrow: bool) -> list[Picture]:
    """Whose the bytes are at each method's peak, a bar a method."""
    shown = [
        (entry.label, record) for entry in page.panel.entries if (record := memory.median_record(entry)) is not None
    ]
    owners = memory.owners_of(record for _, record in shown)
    rows, descriptions = [], []
    for label, record in shown:
        phase = memory.peak_phase(record) or ""
        held = (record.memory.phases or {})[phase]
        total = units.si(sum(held.values()), "B")
        parts = {memory.display_name(owner): float(held.get(owner, 0)) for owner in owners}
        rows.append(Stack(label, parts, f"{total}, {memory.display_name(phase)}"))
        listed = ", ".join(f"{name} {units.si(size, 'B')}" for name, size in parts.items() if size)
        descriptions.append(f"{label} {total} in {memory.display_name(phase)} ({listed})")
    colours = {memory.display_name(owner): COLOURS.get(owner, style.RULE) for owner in owners}
    title = "Memory at the peak"
    axis = "Bytes at the peak"
    alt = f"{title} by owner on {page.title}: {'; '.join(descriptions)}."
    small = bars.draw_stacked(rows, colours, axis, "B", SMALL[0], FONT) if narrow else None
    figure = bars.draw_stacked(rows, colours, axis, "B", WIDE, 9.0)
    return [Picture(f"{page.tag}-memory", title, alt, "", figure, small, ledger="memory")]


def _time(page: Page, narrow: bool) -> list[Picture]:
    """Seconds of the parts of a step and of an evaluation batch."""
    styles = family_styles(page.panel)
    entries = [entry for entry in page.panel.entries if any(record.seconds.steps for record in entry.all)]
    phases = [p for p in (*steps.PARTS, "evaluation") if any(steps.quartiles(entry, p) for entry in entries)]
    parts = [
        Part(_part(phase), tuple(steps.quartiles(entry, phase) for entry in entries), phase not in steps.PARTS)
        for phase in phases
    ]
    labels, colours = [entry.label for entry in entries], [styles[entry.family][0] for entry in entries]
    description = "; ".join(
        f"{part.title}: "
        + ", ".join(f"{name} {units.instant(row[1])}" for name, row in zip(labels, part.rows, strict=True) if row)
        for part in parts
    )
    title = "Seconds of a step and of an evaluation batch"
    figure = bars.draw_side_by_side(labels, colours, parts, 5, WIDE, FONT)
    small = bars.draw_side_by_side(labels, colours, parts, 2, SMALL[0], FONT) if narrow else None
    note = "Bar: the median; line: from the 25th to the 75th percentile. Evaluation has a scale of its own."
    return [
        Picture(
            f"{page.tag}-time", title, f"{title} on {page.title}: {description}.", note, figure, small, ledger="time"
        )
    ]


def _part(phase: str) -> str:
    """The head of a column of bars."""
    return steps.NAMES.get(phase, "evaluation batch")


def _over(places: Sequence[float], height: Callable[[float], float | None]) -> tuple[tuple[float, float], ...]:
    """The points of a curve; none where a height is missing or has no place on a logarithmic axis."""
    points = [(place, height(place)) for place in places]
    return tuple((x, y) for x, y in points if y) if all(y for _, y in points) else ()
