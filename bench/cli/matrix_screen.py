"""What `tunefront list methods --matrix` shows: methods by architectures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunefront.bench.errors import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tunefront.bench.execution.capabilities import Capability

LETTERS = {"merged": "M", "peft": "P", "adapterhub": "A", "safetensors": "S"}
"""The letter of each form of export."""
NO = "–"


def legend() -> str:
    """What the signs in the table mean."""
    forms = ", ".join(f"{letter} {name}" for name, letter in LETTERS.items())
    return (
        "Training starts = at the pretrained model to the bit, ≈ near it, ≠ elsewhere, no sign: modules are added "
        f"later. Exports: {forms}. {NO} does not run there. Found by trying each on a tiny random model."
    )


def cell_text(found: Capability) -> str:
    """A cell of the table: `= M S`."""
    if not found.runs:
        return NO
    return " ".join(filter(None, [found.start, *(LETTERS.get(form, form) for form in found.forms)]))


def by_method(found: Sequence[Capability]) -> dict[str, dict[str, Capability]]:
    """Method -> architecture -> what it can do there."""
    table: dict[str, dict[str, Capability]] = {}
    for each in found:
        table.setdefault(each.method, {})[each.architecture] = each
    return table


def reasons(found: Sequence[Capability]) -> list[str]:
    """A line for each reason why methods do not run: `ia3, scaling on mixtral: ...`."""
    where: dict[tuple[str, str], list[str]] = {}
    for each in found:
        if each.reason is not None:
            where.setdefault((each.reason, each.method), []).append(each.architecture)
    methods: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (reason, method), architectures in where.items():
        methods.setdefault((reason, tuple(architectures)), []).append(method)
    return [
        f"{', '.join(names)} on {', '.join(architectures)}: {reason}"
        for (reason, architectures), names in methods.items()
    ]


def as_matrix(found: Sequence[Capability]) -> list[RenderableType]:
    """The table, its legend, and the reasons."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    architectures = list(dict.fromkeys(each.architecture for each in found))
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for architecture in architectures:
        table.add_column(architecture)
    for method, row in by_method(found).items():
        table.add_row(Text(printable(method)), *(Text(cell_text(row[name])) for name in architectures))
    return [table, Text(legend()), Text(""), *(Text(printable(line)) for line in reasons(found))]
