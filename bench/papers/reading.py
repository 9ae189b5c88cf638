"""The papers that this suite repeats, and their files."""

from __future__ import annotations

import functools
import tomllib
from importlib.resources import files
from typing import Any

from tunefront.bench.errors import Mistake, unknown
from tunefront.bench.files import describe_shipped


def known_papers() -> dict[str, str]:
    """The papers by name -> the first line of the comment in the file."""
    return describe_shipped(__package__)


@functools.cache
def paper_data(name: str) -> dict[str, Any]:  # Any: each kind of table has a file of its own shape
    """What the paper prints, counts with and does; Mistake with the nearest name for a paper that is not there."""
    if name not in known_papers():
        raise Mistake(unknown("paper", name, known_papers()))
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text("utf-8"))


def title_of(paper: str) -> str:
    """What a paper is called, by its name where it is not known here."""
    return str(paper_data(paper)["practice"]["title"]) if paper in known_papers() else paper
