"""Parameters that each method of a paper's comparison trains: by its code, and attached to its backbones."""

from __future__ import annotations

from collections.abc import Iterator

from tunefront.bench.papers.conformance.practice import Line, Practice
from tunefront.bench.papers.counts import kept_count, trained_count
from tunefront.bench.papers.tables.table import WHY, PaperTable
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.spelling import label


def method_table(practice: Practice) -> PaperTable:
    """Trained parameters per method and backbone, of the paper's code and ours; below a method, the variant of its own
    paper if the code deviates from it."""
    backbones = practice.backbones
    heads = [head for backbone in backbones for head in (f"{backbone}, its code", "ours")]
    rows = [row for line in practice.lines if line.trains and line.counts for row in _rows(line, backbones)]
    return PaperTable(
        "Parameters that each method trains",
        ("", *heads, WHY),
        tuple(rows),
        (
            "Its code: from its formulas and the published sizes, or from runs. Ours: parameters that require "
            "gradients after attaching the method to a model of that configuration; no weights are read.",
        ),
    )


def _rows(line: Line, backbones: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    ours = [_count(line.method, backbone) for backbone in backbones]
    theirs = [f"{line.counts[backbone]:,}" if backbone in line.counts else "" for backbone in backbones]
    differ = any(known and known != count for known, count in zip(theirs, ours, strict=True))
    yield (line.name, *_alternating(theirs, ours), line.differs if differ else "")
    if line.kept:
        stored = [f"{line.kept[backbone]:,}" if backbone in line.kept else "" for backbone in backbones]
        left = [f"{kept_count(line.method, backbone):,}" for backbone in backbones]
        yield (" once trained", *_alternating(stored, left), "")
    if line.own is not None:
        own = [_count(line.own, backbone) for backbone in backbones]
        yield (" its paper's", *_alternating([""] * len(own), own), f"{line.why} ({label(line.own)})")


def _count(method: Method, backbone: str) -> str:
    try:
        return f"{trained_count(method, backbone):,}"
    except Unsupported:
        return "none"


def _alternating(first: list[str], second: list[str]) -> Iterator[str]:
    for pair in zip(first, second, strict=True):
        yield from pair
