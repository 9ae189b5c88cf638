"""FLOPs from several sources: counted, analytic, and by the papers' rule of thumb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.statistics import finite_values, median
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunefront.bench.records import PhaseFlops, Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

MAX_DIFFERENCE = 0.02
"""Counted and analytic FLOPs that differ by more than this share are reported as contradictory."""
CAPTIONS = {
    "features": "FLOPs of features, computed once",
    "forward": "FLOPs of training, forward",
    "backward": "FLOPs of training, backward",
    "prefill": "FLOPs of reading all demonstrations once",
    "evaluation": "FLOPs of evaluation, per example",
}
SOURCES = ("counted", "analytic", "rule", "elementwise")
PARTS = ("activation_gradients", "weight_gradients")
TEXT = (
    "Counted: matrix products and attention, counted by torch's dispatcher during the run. Analytic: the same computed "
    "from the configuration and the shapes, taking into account which weights are frozen and where the backward pass "
    "ends. If the two differ, one of them is wrong. Rule: the estimate of many papers, 2 N FLOPs per token in the "
    "forward pass (N if a token passes through only one side of an encoder-decoder) and twice that in the backward "
    "pass, where N is the number of parameters; it ignores which weights are frozen. Elementwise: norms, softmax, "
    "activations and sums, which the other counts exclude. The backward pass has two parts: gradients of activations, "
    "which are computed down to the lowest trained weight, and gradients of weights, which only trained weights need."
)


def ledger(panel: Panel, index: int) -> Ledger | None:
    """The ledger of a panel; None if no FLOPs by phase are recorded."""
    phases = [phase for phase in CAPTIONS if any(phase in (record.flops.phases or {}) for record in panel.records)]
    if not phases:
        return None
    tables = tuple(_table(panel, index, phase) for phase in phases)
    return Ledger("flops", "FLOPs from several sources", _short(panel), (TEXT,), tables)


def ratio(record: Record, phase: str) -> float | None:
    """Counted over analytic FLOPs of a phase."""
    flops = (record.flops.phases or {}).get(phase)
    if flops is None or flops.counted is None or not flops.analytic:
        return None
    return flops.counted / flops.analytic


def contradictions(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """The phases in which counted and analytic FLOPs differ too much: label -> phase -> the ratio farthest from 1."""
    worst: dict[str, dict[str, float]] = {}
    for record in records:
        for phase in record.flops.phases or {}:
            value = ratio(record, phase)
            if value is not None and abs(value - 1) > MAX_DIFFERENCE:
                phases = worst.setdefault(record.label, {})
                phases[phase] = max(phases.get(phase, 1.0), value, key=lambda known: abs(known - 1))
    return worst


def _table(panel: Panel, index: int, phase: str) -> Table:
    entries = [(e, en) for e, en in enumerate(panel.entries) if any(phase in (r.flops.phases or {}) for r in en.all)]
    parts = [
        part
        for part in PARTS
        if any(_read(record, phase, part) is not None for _, entry in entries for record in entry.all)
    ]
    columns = (
        Column("method", numeric=False),
        Column("counted"),
        Column("analytic"),
        Column("counted", "/ analytic"),
        Column("rule", "of thumb"),
        Column("elementwise", "in addition"),
        *(Column(part.split("_")[0] + (" gradients"), "of analytic") for part in parts),
    )
    rows = []
    for e, entry in entries:
        link = anchor(index, e)
        cells = {name: _cell(entry, lambda r, n=name: _read(r, phase, n), link) for name in (*SOURCES, *parts)}  # type: ignore[misc]
        agreed = median(finite_values(entry.all, lambda record: ratio(record, phase)))
        text = units.MISSING if agreed is None else f"{agreed:.3f}"
        between = Cell(text, title=units.exact(agreed), link=link_if_present(agreed, link))
        first = (Cell(entry.label), cells["counted"], cells["analytic"], between)
        rows.append((*first, *(cells[name] for name in (*SOURCES[2:], *parts))))
    scope = (
        "" if phase == "evaluation" else ", of all steps together" if phase in ("forward", "backward") else ", in all"
    )
    note = f"Medians over tasks and runs{scope}."
    return Table(CAPTIONS[phase], columns, tuple(rows), note)


def _read(record: Record, phase: str, source: str) -> float | None:
    """FLOPs of a phase from a source; for evaluation, per example."""
    flops: PhaseFlops | None = (record.flops.phases or {}).get(phase)
    value = None if flops is None else getattr(flops, source)
    if phase != "evaluation" or value is None:
        return value
    return value / record.data.n_test if record.data.n_test else None


def _cell(entry: Entry, read: Callable[[Record], float | None], link: str) -> Cell:
    value = entry.median(read)
    return Cell(units.si(value, "FLOP"), title=units.exact(value, "FLOP"), link=link_if_present(value, link))


def _short(panel: Panel) -> str:
    """The largest difference between the two counts, in words."""
    differences = [
        (abs(value - 1), entry.label, phase)
        for entry in panel.entries
        for record in entry.all
        for phase in record.flops.phases or {}
        if (value := ratio(record, phase)) is not None
    ]
    if not differences:
        return ""
    difference, label, phase = max(differences)
    if difference <= MAX_DIFFERENCE:
        return f"counted and analytic differ by at most {100 * difference:.1f}\u00a0%"
    return f"counted and analytic differ by up to {100 * difference:.0f}\u00a0% ({label}, {phase})"
