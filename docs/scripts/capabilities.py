"""What each method can do on each architecture: `python -m docs.scripts.capabilities` tries all of them, and writes
docs/examples/capabilities.txt (what a method can do on a few) and docs/examples/architectures.txt (what runs on which).
It takes some minutes."""

from __future__ import annotations

from collections.abc import Sequence

from tests import ROOT
from tunefront.bench.cli.matrix_screen import by_method, cell_text, legend, reasons
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
    """The table of architectures: how many methods run on each, and those that do not, with the numbers of the reasons
    under the table."""
    architectures = list(dict.fromkeys(each.architecture for each in found))
    numbers = {
        reason: number for number, reason in enumerate(dict.fromkeys(filter(None, (each.reason for each in found))), 1)
    }
    rows = []
    for name in architectures:
        here = [each for each in found if each.architecture == name]
        grouped: dict[int, list[str]] = {}
        for each in here:
            if each.reason is not None:
                grouped.setdefault(numbers[each.reason], []).append(f"`{each.method}`")
        exceptions = "; ".join(f"{', '.join(names)} ({number})" for number, names in grouped.items())
        rows.append([f"`{name}`", f"{sum(each.runs for each in here)} of {len(here)}", exceptions])
    said = "Found by trying each method on a tiny random model. A name after a dash is a variant. The reasons:"
    reasons = [f"{number}. {reason}" for reason, number in numbers.items()]
    return "\n".join([_markdown(["architecture", "methods that run", "that do not"], rows), "", said, "", *reasons, ""])


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
