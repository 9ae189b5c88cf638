"""What each method can do on each architecture: `python -m docs.scripts.capabilities` tries all of them, and writes
docs/examples/capabilities.txt (what a method can do on a few) and docs/examples/architectures.txt (what runs on which).
It takes some minutes."""

from __future__ import annotations

from collections.abc import Sequence

from tests import ROOT
from tunefront.bench.cli.matrix_screen import NO, by_method, cell_text, legend, reasons
from tunefront.bench.execution.capabilities import ARCHITECTURES, Capability, capabilities, default_methods
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS

METHODS = ROOT / "docs" / "examples" / "capabilities.txt"
MODELS = ROOT / "docs" / "examples" / "architectures.txt"


def by_methods(found: Sequence[Capability]) -> str:
    """The table of methods by architectures in Markdown, its legend, and the reasons."""
    architectures = list(dict.fromkeys(each.architecture for each in found))
    table = by_method(found)
    rows = [[f"`{name}`", *(cell_text(row[other]) for other in architectures)] for name, row in table.items()]
    return "\n".join([_markdown(["method", *architectures], rows), "", legend(), "", *_reasons(found)])


def by_architectures(found: Sequence[Capability]) -> str:
    """The table of architectures by methods: how each starts, or that it does not run; and the reasons."""
    table = by_method(found)
    architectures = list(dict.fromkeys(each.architecture for each in found))
    rows = [
        [f"`{name}`", *((row[name].start or "+") if row[name].runs else NO for row in table.values())]
        for name in architectures
    ]
    signs = (
        "Training starts = at the pretrained model to the bit, ≈ near it, ≠ elsewhere; + modules are added later; "
        f"{NO} does not run there. Found by trying each on a tiny random model. A name after a dash is a variant."
    )
    return "\n".join(
        [_markdown(["architecture", *(f"`{name}`" for name in table)], rows), "", signs, "", *_reasons(found)]
    )


def _reasons(found: Sequence[Capability]) -> list[str]:
    return [*(f"- {line}" for line in reasons(found)), ""]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    """Writes the files."""
    found = capabilities(default_methods(), ARCHITECTURES, on_step=lambda step: print(step, flush=True))
    few = [each for each in found if each.architecture in (*FAMILIES, *LANGUAGE_MODELS)]
    for file, text in ((METHODS, by_methods(few)), (MODELS, by_architectures(found))):
        file.write_text(text, encoding="utf-8")
        print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
