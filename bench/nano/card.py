"""Renders the model card from measurements and logs, so that no figure in it is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2

from tunefront.bench.data.sources.candidates import SHARES
from tunefront.bench.files import writing
from tunefront.bench.nano import holdout, shape
from tunefront.bench.nano.corpus import CORE, FURTHER, INSTALLED, LONGEST_DOCUMENT
from tunefront.bench.nano.measuring import MEASURED
from tunefront.bench.nano.runs import CURVES, RUN
from tunefront.bench.nano.tokens import LABELS

CARD, TRAINED = "README.md", "training.json"
_SHOWN_EVERY = 200
"""Steps between lines of the table of curves."""


def keep_training(out: Path, figures: Path) -> Path:
    """Writes a summary of the run in the folder `out` and its data to the folder of figures."""
    run = json.loads((out / RUN).read_text("utf-8"))
    lines = [json.loads(line) for line in (out / CURVES).read_text("utf-8").splitlines()]
    last = lines[-1]
    content = {
        **run,
        **{name: last[name] for name in ("step", "tokens", "seconds")},
        "curves": [
            {"step": line["step"], "tokens": line["tokens"], **line["probes"]}
            for line in lines
            if "probes" in line and (line["step"] % _SHOWN_EVERY == 0 or line is last)
        ],
    }
    place = figures / TRAINED
    with writing(place) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
    return place


def write(figures: Path, folder: Path) -> Path:
    """Writes the card of the model in `folder` from its figures."""
    place = folder / CARD
    with writing(place) as file:
        file.write(render(figures).encode())
    return place


def render(figures: Path) -> str:
    """The card's text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown of our own figures
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    context: dict[str, Any] = {
        "measured": json.loads((figures / MEASURED).read_text("utf-8")),
        "training": json.loads((figures / TRAINED).read_text("utf-8")),
        "shape": shape,
        "held_out": holdout.LIBRARIES,
        "never": holdout.NEVER_CLASSES,
        "labels": len(LABELS),
        "longest_document": LONGEST_DOCUMENT,
        "test_share": 1 - SHARES["validation"],
        "installed": [source.distribution for source in (*CORE, *INSTALLED)],
        "further": [source.distribution for source in FURTHER],
    }
    return environment.get_template("card.md.jinja").render(context)
