"""Parts of a written HTML page: what is ours, the data of its scripts, and the places that its links can lead to."""

from __future__ import annotations

import json
import re
from typing import Any

_SCRIPT = re.compile(r"(<script>)(.*?)(</script>)", re.DOTALL)


def own(text: str) -> str:
    """The page without the text of its scripts, which are those of other packages and ours, never of a record."""
    return _SCRIPT.sub(r"\1\3", text)


def scripts(text: str) -> list[str]:
    """The texts of the scripts that run."""
    return [found[1] for found in _SCRIPT.findall(text)]


def data(text: str) -> dict[str, Any]:
    """What the scripts of the page read."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    read: dict[str, Any] = json.loads(found)
    return read


def column(text: str, name: str) -> list[Any]:
    """A field of every record, as the page's script reads it."""
    records = data(text)["records"]
    kept = records["columns"].get(name)
    if kept is None:
        return [None] * records["count"]
    if kept.get("all"):
        return list(kept["v"])
    if "i" in kept:
        return [None if place < 0 else kept["v"][place] for place in kept["i"]]
    return kept["v"] * records["count"]
