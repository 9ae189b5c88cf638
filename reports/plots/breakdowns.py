"""The plots of the ledgers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.entries import family_of
from tunefront.reports.compare.query_comparison import compare_ways
from tunefront.reports.compare.query_costs import MEASURES, WITHOUT_CACHE
from tunefront.reports.compare.query_prices import NAMES, priced
from tunefront.reports.costs import memory, money, step_ratios, storage
from tunefront.reports.costs.train_or_prompt import MEASURED, panel_ways
from tunefront.reports.plots import bars, curves, heat_maps, style
from tunefront.reports.plots.bars import Part, Stack
from tunefront.reports.plots.curves import Curve, Titles
from tunefront.reports.plots.picture import Picture
from tunefront.reports.plots.tradeoff import family_styles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.price_map import PriceMap, Winner
    from tunefront.reports.compare.prices import Prices
    from tunefront.reports.compare.query_comparison import Pair
    from tunefront.reports.compare.query_costs import Way
    from tunefront.reports.costs.train_or_prompt import Measure
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
"""The colour of each owner of memory."""
TASKS = (1, 2, 3, 5, 9, 15, 25, 50, 100)
DRAWN_TASKS = 2
"""Most tasks of a panel for which break-even is plotted; the tables have all tasks."""
UNCLEAR = "Lines without a circle where they cross: their costs per query are not distinguished."
FARTHEST = 1e9
"""Most queries in a plot; later break-even points are only in the table."""
SMALL, WIDE = (4.1, 3.3), 7.4
"""Size of a small plot and width of the page, in inches."""
FONT = 8.5


def pictures(page: Page, narrow: bool = True) -> list[Picture]:
    """The plots of all ledgers of a panel; `narrow`: including those for small screens."""
    drawers = {"storage": _storage, "break-even": _break_even, "prices": _prices, "memory": _memory, "time": _time}
    shown = [ledger.tag for ledger in page.ledgers if ledger.tag in drawers]
    return [picture for tag in shown for picture in drawers[tag](page, narrow)]


def _storage(page: Page, narrow: bool) -> list[Picture]:
    """Plots of bytes and parameters over the number of tasks."""
    styles = family_styles(page.panel)

    def curve(entry: Entry, total: Callable[..., int | None], *cache: bool) -> Curve:
        label = entry.label + (" with cache" if any(cache) else "")
        points = _over(TASKS, lambda tasks: entry.median(lambda record: total(record, int(tasks), *cache)))
        return Curve(label, styles[entry.family][0], points, any(cache))

    entries = page.panel.entries
    files = [curve(entry, storage.total_bytes, cache) for entry in entries for cache in storage.cache_options(entry)]
    sizes = [curve(entry, storage.total_params) for entry in entries]
    pictures = []
    for kind, up, unit, known in (
        ("Bytes", "Total bytes", "B", files),
        ("Parameters", "Total parameters", "", sizes),
    ):
        drawn = [candidate for candidate in known if candidate.points]
        if not drawn:
            continue
        figure = curves.draw(drawn, Titles("Tasks", up, unit), SMALL, FONT)
        ends = [f"{c.label} {units.si(c.points[0][1], unit)} and {units.si(c.points[-1][1], unit)}" for c in drawn]
        title = f"{kind} of N tasks"
        alt = f"{title} on {page.title}, for 1 and for {TASKS[-1]} tasks: {'; '.join(ends)}."
        note = "Dashed: with cache." if any(curve.dashed for curve in drawn) else ""
        name = f"{page.tag}-{kind.lower()}-of-tasks"
        pictures.append(Picture(name, title, alt, note, figure, wide=False, ledger="storage"))
    return pictures


def _break_even(page: Page, narrow: bool) -> list[Picture]:
    """Plots of the total cost over the number of queries, for each way of answering them, in FLOPs and seconds."""
    ways = panel_ways(page.panel, page.names)
    measures = [MEASURED[key] for key in MEASURES if key == "flops" or not page.panel.timing_mismatch]
    return [
        picture
        for number, task in enumerate(list(ways)[:DRAWN_TASKS])
        for measure in measures
        for picture in _totals(page, ways[task], measure, Place("break-even", measure.key, number, task, len(ways) > 1))
    ]


def _prices(page: Page, narrow: bool) -> list[Picture]:
    """The same in money, by each model of price, and the maps of the cheapest way."""
    if page.prices is None:
        return []
    ways, drawn = panel_ways(page.panel, page.names), []
    for model in money.models_shown(page.panel, page.prices):
        measure, note = money.measure_of(page.prices, model), page.prices.stamp
        for number, task in enumerate(list(ways)[:DRAWN_TASKS]):
            place = Place("prices", f"total-{model}", number, task, len(ways) > 1)
            drawn += _totals(page, priced(ways[task], page.prices, model), measure, place, note)
    return drawn + _maps(page, page.prices)


@dataclass(frozen=True)
class Place:
    """Where a plot of one task belongs: its ledger, its name there, and the task, one of `several` if there are."""

    ledger: str
    name: str
    number: int
    task: str
    several: bool

    def name_in(self, page: Page) -> str:
        """The plot's name in files."""
        return f"{page.tag}-{self.ledger}-{self.name}" + (f"-{self.number + 1}" if self.several else "")

    def titled(self, title: str) -> str:
        """A title with the task if there are several."""
        return title + (f", {self.task}" if self.several else "")


def _totals(page: Page, ways: Sequence[Way], measure: Measure, place: Place, further: str = "") -> list[Picture]:
    """The plot of the total cost of every way over the number of queries; empty if no two ways are compared."""
    pairs = compare_ways(ways, measure.key, measure.noisy)
    if not pairs:
        return []
    crossings = [pair for pair in pairs if pair.crossing.queries is not None]
    drawn, marks, farthest = _cumulative(page.panel, ways, measure, crossings)
    title = place.titled(f"{measure.name[0].upper()}{measure.name[1:]} of training and n queries")
    unit = "" if measure.key == "flops" else measure.unit
    figure = curves.draw(drawn, Titles("Queries n", f"Total {measure.name}", unit), SMALL, FONT, marks)
    met = [f"{pair.trained.label} and {pair.prompted.name} at {_place(pair, measure)}" for pair in crossings]
    unclear = any(pair.crossing.kind == "unclear" for pair in pairs)
    where = f"Equal costs: {'; '.join(met)}." if met else "" if unclear else "No two costs become equal."
    text = {"flops": units.si, "seconds": units.instant}.get(measure.key, measure.write)
    ends = "; ".join(f"{curve.label} {text(curve.points[-1][1])}" for curve in drawn)
    alt = f"{title} on {page.title}, after {farthest:,.0f} queries: {ends}. {where}".strip()
    circles = "Circle: training and prompt have the same total cost." if marks else ""
    dashes = "Dashed: without cache." if any(curve.dashed for curve in drawn) else ""
    note = " ".join(filter(None, (circles, dashes, UNCLEAR if unclear else "", further)))
    return [Picture(place.name_in(page), title, alt, note, figure, wide=False, ledger=place.ledger)]


def _maps(page: Page, prices: Prices) -> list[Picture]:
    """Maps of the cheapest way over the queries of an hour and the number of queries, where a cache expires."""
    ways, styles = panel_ways(page.panel, page.names), family_styles(page.panel)
    colours = {way.name: styles[family_of(way.label)][0] for own in ways.values() for way in own}
    pictures = []
    for model, by_task in page.maps.items():
        for number, (task, found) in enumerate(list(by_task.items())[:DRAWN_TASKS]):
            if found.rates == (None,):
                continue
            letters = found.letters
            shade = {
                name: heat_maps.tint(colours[name], SHADES[place % len(SHADES)]) for place, name in enumerate(letters)
            }
            cells = tuple(
                tuple(None if winner is None else (_winner_text(winner, letters), shade[winner.name]) for winner in row)
                for row in reversed(found.winners)
            )
            columns, rows = map(money.rate_text, found.rates), (f"{total:,}" for total in reversed(found.totals))
            grid = heat_maps.Grid(tuple(rows), tuple(columns), cells, "Queries an hour", "Queries in all")
            place = Place("prices", model, number, task, len(ways) > 1)
            title = place.titled(f"Cheapest way by {NAMES[model]}")
            note = f"{money.legend(found)} +1: as many others are not distinguished from it. {prices.stamp}"
            alt = f"{title} on {page.title}. {_map_in_words(found)}"
            figure = heat_maps.draw_grid(grid, SMALL[0], FONT)
            pictures.append(Picture(place.name_in(page), title, alt, note, figure, wide=False, ledger="prices"))
    return pictures


SHADES = (0.55, 0.3, 0.75)
"""How deep the colours of a map are, in turn: ways of one family that follow each other differ."""


def _winner_text(winner: Winner, letters: Mapping[str, str]) -> str:
    return letters[winner.name] + (f" +{len(winner.tied)}" if winner.tied else "")


def _map_in_words(found: PriceMap) -> str:
    """The map: for numbers of queries, the rates from which each way is the cheapest."""
    rows = [(total, _row_in_words(found, row)) for total, row in zip(found.totals, found.winners, strict=True)]
    groups = [(words, [total for total, _ in group]) for words, group in itertools.groupby(rows, lambda pair: pair[1])]
    return " ".join(
        f"{totals[0]:,}{f' to {totals[-1]:,}' if len(totals) > 1 else ''} queries: {words}." for words, totals in groups
    )


def _row_in_words(found: PriceMap, row: Sequence[Winner | None]) -> str:
    places = [(winner.name, rate) for rate, winner in zip(found.rates, row, strict=True) if winner]
    starts = [(name, next(group)[1]) for name, group in itertools.groupby(places, lambda place: place[0])]
    return ", ".join(
        name if len(starts) == 1 else f"from {money.rate_text(rate)} an hour {name}" for name, rate in starts
    )


def _place(pair: Pair, measure: Measure) -> str:
    """The number of queries at which two ways cost the same, in words."""
    words = pair.crossing.rough if measure.noisy else pair.crossing.words
    return words.removeprefix("after ").removeprefix("up to ")


def _cumulative(
    panel: Panel, ways: Sequence[Way], measure: Measure, met: Sequence[Pair]
) -> tuple[list[Curve], list[tuple[float, float, str]], float]:
    """The curves of all ways, the circles at break-even points, and the largest number of queries."""
    styles = family_styles(panel)
    colours = {entry.label: styles[entry.family][0] for entry in panel.entries}
    near = [pair for pair in met if pair.crossing.queries and pair.crossing.queries <= FARTHEST]
    farthest = max([1000.0, *(5 * (pair.crossing.queries or 0) for pair in near)])
    places = [farthest ** (i / 60) for i in range(61)]
    drawn = []
    for way in ways:
        line = way.line(measure.key)
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
    """Plot of memory by owner at each method's peak, a bar per method."""
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
    """Plot of the seconds of the parts of a step and of an evaluation batch."""
    styles = family_styles(page.panel)
    entries = [entry for entry in page.panel.entries if any(record.seconds.steps for record in entry.all)]
    phases = [
        p for p in (*step_ratios.PARTS, "evaluation") if any(step_ratios.quartiles(entry, p) for entry in entries)
    ]
    parts = [
        Part(
            _part(phase),
            tuple(step_ratios.quartiles(entry, phase) for entry in entries),
            phase not in step_ratios.PARTS,
        )
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
    note = "Bar: median; line: 25th to 75th percentile. Evaluation has its own scale."
    return [
        Picture(
            f"{page.tag}-time", title, f"{title} on {page.title}: {description}.", note, figure, small, ledger="time"
        )
    ]


def _part(phase: str) -> str:
    """The title of a column of bars."""
    return step_ratios.NAMES.get(phase, "evaluation batch")


def _over(places: Sequence[float], height: Callable[[float], float | None]) -> tuple[tuple[float, float], ...]:
    """The points of a curve; empty if a height is missing or 0, which a logarithmic axis cannot show."""
    points = [(place, height(place)) for place in places]
    return tuple((x, y) for x, y in points if y) if all(y for _, y in points) else ()
