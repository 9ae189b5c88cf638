"""Our figures on the pages of protocols: `python -m docs.scripts.studies RESULTS...` draws them from stored records.

RESULTS are folders that `tunefront ablate`, `tunefront stream` or a search wrote, each with the studies of one report.
For each kind of study it writes docs/examples/KIND.txt (what was found, and the tables), which a page includes, and the
plots in docs/img/. A kind that no folder has stays as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT
from tunefront.bench.records import load_records
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.formats import markdown
from tunefront.reports.plots import study_plots
from tunefront.reports.sections.document import compose
from tunefront.reports.sections.studies.study import Study

TEXTS, PICTURES = ROOT / "docs" / "examples", ROOT / "docs" / "img"
KINDS = {
    "spans": "ablate_spans",
    "std": "ablate_init",
    "size": "ablate_size",
    "losses": "ablate_losses",
    "shots": "ablate_shots",
    "stream": "stream",
    "trials": "trials",
}
"""The start of a study's tag -> the part of a page that it belongs to."""
PRINTED = ("ablate_spans",)
"""The parts whose plots print all numbers of their tables."""


def studies(folder: Path) -> Iterator[Study]:
    """The studies in a results folder."""
    records = load_records(folder)
    yield from compose(records, answers=AnswerFiles(records.places), places=records.places).studies


def main() -> None:
    """Writes the parts of the page and its pictures."""
    parser = argparse.ArgumentParser(prog="python -m docs.scripts.studies", description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, nargs="+")
    found: dict[str, list[Study]] = {}
    for folder in parser.parse_args().results:
        for study in studies(folder):
            kind = KINDS.get(study.tag.rpartition("-")[0])
            found.setdefault(kind or "", []).append(study)
    for kind in filter(None, found):
        parts = []
        for number, study in enumerate(found[kind], 1):
            parts += list(map(markdown.escape, study.intro))
            for picture in study_plots.pictures(study, narrow=False):
                name = f"{kind.replace('_', '-')}-{number}-{picture.name.rpartition(f'{study.tag}-')[2]}.svg"
                text = picture.svg.decode().replace("fill: none", "fill: #ffffff", 1)  # dark pages show through
                PICTURES.joinpath(name).write_text(text, encoding="utf-8")
                title = f"{picture.title}. {picture.note}".strip()
                width = "" if picture.wide else '{ width="49%" }'
                parts += [f"![{markdown.escape(title)}](img/{name}){width}"]
            parts += [] if kind in PRINTED else [markdown.table(table, "####") for table in study.tables]
        path = TEXTS / f"{kind}.txt"
        path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(found[kind])} of {kind}")


if __name__ == "__main__":
    main()
