"""Reads the files of the papers that this project repeats."""

from __future__ import annotations

import functools
import tomllib
from importlib.resources import files
from typing import Any

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.files import describe_shipped


def known_papers() -> dict[str, str]:
    """Paper -> first comment line of its file."""
    return describe_shipped(__package__)


@functools.cache
def paper_data(name: str) -> dict[str, Any]:  # Any: files differ by the kind of their tables
    """The parsed file of a paper; UserError with the nearest name for an unknown paper."""
    if name not in known_papers():
        raise UserError(unknown("paper", name, known_papers()))
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text("utf-8"))


def title_of(paper: str) -> str:
    """The title of a paper; its name if it is unknown here."""
    return str(paper_data(paper)["practice"]["title"]) if paper in known_papers() else paper
