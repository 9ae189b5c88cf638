"""The difference of two sets of results in the terminal and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunefront.reports.formats.terminal import Fitted

if TYPE_CHECKING:
    from tunefront.reports.compare.difference.diff import Difference
    from tunefront.reports.sections.difference import Text


def parts(text: Text) -> Iterator[str | Fitted]:
    """What is printed, in order: lines, and tables that fit into the terminal."""
    yield f"{text.title}\n"
    for line in text.lead:
        yield f"{line}\n"
    yield from map(Fitted, text.tables)
    for line in text.notes:
        yield f"- {line}"


def as_json(known: Difference) -> str:
    """The fields of a difference, with what follows from them. An infinite number, which JSON lacks, does not occur."""
    fields = {"regressed": known.regressed, "worse": known.worse, **dataclasses.asdict(known)}
    return json.dumps(fields, indent=2, allow_nan=False)
