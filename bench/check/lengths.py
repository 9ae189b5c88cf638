"""Lengths of rows in tokens of a backbone against the most that it reads; in words where there is no backbone."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunefront.bench.check.findings import Finding, Lengths
from tunefront.bench.check.samples import cut_texts, sample
from tunefront.bench.errors import UserError
from tunefront.bench.models.gguf.converted import is_unfetched
from tunefront.bench.settings import RunConfig
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.data.task import Kind, Row, Task

log = logging.getLogger("tunefront")

MOST_ROWS, _MOST_ANSWERS = 1000, 50_000
"""Rows that are looked at, of all splits together, and the most answers of a language model's rows together."""
_BATCH, _LONGEST = 64, 20_000
"""Rows that are tokenised at a time, and characters of a text that are: a longer one's tokens are estimated."""
_CUTS = (32, 64, 128, 256, 512)
_MOST_BINS, _FIRST, _NO_ROOM = 8, 8, 1024
"""Bins of the histogram, the bound of the first, and that of the last but one where there is no room."""
_MANY_CUT = 0.05
"""Share of rows longer than the room from which there is a warning."""


def default_backbone(kind: Kind = "classification") -> str | None:
    """The backbone that suite `own` runs on tasks of a kind, if its files are on this machine, else None; nothing is
    downloaded."""
    if kind == "multiple choice":
        return "nano" if is_unfetched("smollm2") else "smollm2"
    from tunefront.bench.models.hub import download
    from tunefront.bench.models.locate import MINILM_HUB, MINILM_WHEEL

    if importlib.util.find_spec(MINILM_WHEEL) is not None:
        return "minilm"
    try:
        download(MINILM_HUB, {}, here=True)
    except UserError:
        return None
    return "minilm"


def length_findings(task: Task, backbone: str | None) -> tuple[Lengths, list[Finding]]:
    """The lengths of a sample of the rows, and a warning if the backbone cuts many of them."""
    from tunefront.bench.models.config import family_of

    prompted = backbone is not None and family_of(backbone) != "encoder"
    most = _MOST_ANSWERS // max(1, len(task.label_names)) if prompted else MOST_ROWS
    rows = sample([row for split in task.splits.values() for row in split], max(10, min(MOST_ROWS, most)))
    known = None if backbone is None else _tokens(task, backbone, rows)
    if known is None:
        return _lengths([_words(" ".join(task.texts(row))) for row in rows], "words", None, None), []
    lengths = _lengths(known[0], "tokens", backbone, known[1])
    over = lengths.cut.get(lengths.room, 0.0) if lengths.room is not None else 0.0
    if over <= _MANY_CUT:
        return lengths, []
    place = max(range(len(rows)), key=lambda place: known[0][place])
    text = (
        f"{100 * over:.0f} % of the rows are longer than the {lengths.room:,} tokens that {backbone} reads; row "
        f"{rows[place].id} has {lengths.longest:,}"
    )
    remedy = "The rest is cut off: give a backbone that reads more with --backbone, or shorter texts."
    return lengths, [Finding("cut", "warning", text, remedy, round(over * len(rows)), rows[place].id)]


def _tokens(task: Task, backbone: str, rows: Sequence[Row]) -> tuple[list[int], int | None] | None:
    """(tokens per row, room); None if the backbone cannot do the task, or cannot encode a row."""
    from tunefront.bench.models.config import family_of, room_of, row_tokens
    from tunefront.bench.templates import find_template

    lengths, room = [], None
    try:
        template = None if family_of(backbone) == "encoder" else find_template(task, None).name
        room = room_of(backbone, task, template, RunConfig())
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            cut = [cut_texts(row, _LONGEST) for row in batch]
            tokens = row_tokens(backbone, task, template, cut, RunConfig())
            if tokens is None:
                return None
            for row, short, (whole, _) in zip(batch, cut, tokens, strict=True):
                lengths.append(round(whole * _characters(task, row) / max(1, _characters(task, short))))
    except (UserError, Unsupported):
        log.debug("rows of %s have no lengths in tokens of %s", task.name, backbone, exc_info=True)
        return None
    return lengths, room


def _characters(task: Task, row: Row) -> int:
    return sum(map(len, task.texts(row)))


def _words(text: str) -> int:
    """The words of a text; a Chinese or Japanese letter counts as one."""
    wide = sum(ord(letter) >= 0x2E80 for letter in text)
    return wide + len("".join(" " if ord(letter) >= 0x2E80 else letter for letter in text).split())


def _lengths(lengths: Sequence[int], unit: str, backbone: str | None, room: int | None) -> Lengths:
    ordered = sorted(lengths)
    cuts = sorted({cut for cut in (*_CUTS, room) if cut is not None and (room is None or cut <= room)})
    shares = {cut: sum(length > cut for length in ordered) / len(ordered) for cut in cuts}
    return Lengths(
        unit,
        backbone,
        len(ordered),
        ordered[len(ordered) // 2],
        ordered[int(0.95 * (len(ordered) - 1))],
        ordered[-1],
        room,
        _bins(ordered, room),
        shares,
    )


def _bins(ordered: Sequence[int], room: int | None) -> tuple[tuple[int, int], ...]:
    """(largest length, rows) of each bin: bounds double up to the room, then one bin up to the longest row. Short
    lengths share a bin if there are many bins."""
    most = room or _NO_ROOM
    bounds = [_FIRST]
    while bounds[-1] < min(ordered[-1], most):
        bounds.append(min(2 * bounds[-1], most))
    if ordered[-1] > bounds[-1]:
        bounds.append(ordered[-1])
    bounds = bounds[max(0, len(bounds) - _MOST_BINS) :]
    while len(bounds) > 1 and ordered[0] > bounds[0]:
        bounds = bounds[1:]
    counts = [0] * len(bounds)
    for length in ordered:
        counts[next(place for place, bound in enumerate(bounds) if length <= bound)] += 1
    return tuple(zip(bounds, counts, strict=True))
