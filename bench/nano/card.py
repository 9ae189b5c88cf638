"""The model card: written from what was measured and logged, so that no figure in it is typed by hand."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from bench.files import writing
from bench.nano import holdout, shape
from bench.nano.corpus import CORE, FURTHER, INSTALLED, Corpus
from bench.nano.curriculum import STAGES, Stage
from bench.nano.measuring import MEASURED

CARD, TRAINED = "README.md", "training.json"
_SHOWN_EVERY = 400
"""Steps between two lines of the table of curves."""


def keep_training(
    corpus: Corpus, versions: dict[str, str], curves: Path, folder: Path, stages: Sequence[Stage] = STAGES
) -> Path:
    """Writes what the model was trained on, and how that went, beside the weights."""
    lines = [json.loads(line) for line in curves.read_text("utf-8").splitlines()]
    last = lines[-1]
    content = {
        "documents": len(corpus.documents),
        "characters": sum(map(len, corpus.documents)),
        "snippets": len(corpus.snippets),
        "snippets_of_library": dict(Counter(snippet.library for snippet in corpus.snippets).most_common()),
        "versions": versions,
        "stages": [{"name": s.name, "steps": s.steps, "length": s.length, "mix": dict(s.mix)} for s in stages],
        "steps": last["step"],
        "tokens": last["tokens"],
        "seconds": last["seconds"],
        "machine": platform.machine(),
        "curves": [
            {"step": line["step"], "tokens": line["tokens"], **line["probes"]}
            for line in lines
            if "probes" in line and (line["step"] % _SHOWN_EVERY == 0 or line is last)
        ],
    }
    place = folder / TRAINED
    with writing(place) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
    return place


def write(folder: Path) -> Path:
    """The card, out of the two files beside the weights."""
    place = folder / CARD
    with writing(place) as file:
        file.write(render(folder).encode())
    return place


def render(folder: Path) -> str:
    """The card's text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown of our own figures
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    told: dict[str, Any] = {
        "measured": json.loads((folder / MEASURED).read_text("utf-8")),
        "training": json.loads((folder / TRAINED).read_text("utf-8")),
        "shape": shape,
        "held_out": holdout.LIBRARIES,
        "never": holdout.NEVER_CLASSES,
        "installed": [source.distribution for source in (*CORE, *INSTALLED)],
        "further": [source.distribution for source in FURTHER],
    }
    return environment.get_template("card.md.jinja").render(told)
