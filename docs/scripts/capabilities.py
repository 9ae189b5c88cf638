"""What each method can do on each architecture: `python -m docs.scripts.capabilities` tries all of them, and writes
docs/examples/capabilities.txt. It takes some minutes."""

from __future__ import annotations

from collections.abc import Sequence

from tests import ROOT
from tunefront.bench.cli.matrix_screen import by_method, cell_text, legend, reasons
from tunefront.bench.execution.capabilities import ARCHITECTURES, Capability, capabilities, default_methods

FILE = ROOT / "docs" / "examples" / "capabilities.txt"


def text(found: Sequence[Capability]) -> str:
    """The table in Markdown, its legend, and the reasons."""
    architectures = list(dict.fromkeys(each.architecture for each in found))
    rows = [
        ["method", *architectures],
        ["---"] * (1 + len(architectures)),
        *([f"`{name}`", *(cell_text(row[other]) for other in architectures)] for name, row in by_method(found).items()),
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([table, "", legend(), "", *(f"- {line}" for line in reasons(found)), ""])


def main() -> None:
    """Writes the file."""
    found = capabilities(default_methods(), ARCHITECTURES, on_step=lambda step: print(step, flush=True))
    FILE.write_text(text(found), encoding="utf-8")
    print(FILE.relative_to(ROOT))


if __name__ == "__main__":
    main()
