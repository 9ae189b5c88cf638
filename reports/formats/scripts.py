"""The page's JavaScript: plotly's and that of itables' DataTables bundle, as these are installed, and our own.

Nothing of others is kept in this repository: a report has the versions that were installed when it was written.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from tunefront.bench.errors import UserError

PLOTLY, TABLES = "plotly", "itables"
GLOBAL = "window.tunefrontTables"
"""Where our script finds DataTables."""


@dataclass(frozen=True)
class Script:
    """The text of a script element, and the hash by which the page's policy allows it."""

    text: str
    hash: str


@cache
def scripts() -> tuple[Script, ...]:
    """The scripts in the order in which they run. UserError if a package has not what the page needs."""
    return tuple(_script(text) for text in (_plotly(), _tables(), _own()))


def sources() -> str:
    """The packages that the scripts are from, with their versions."""
    return f"{PLOTLY} {version(PLOTLY)} and DataTables of {TABLES} {version(TABLES)}"


def _script(text: str) -> Script:
    # In a script element, `<!--` starts a comment of its own, and `</script` ends it. In strings and regular
    # expressions, `\x3c` is the same character.
    safe = re.sub(r"<(?=!--|/?script)", r"\\x3c", text, flags=re.IGNORECASE)
    return Script(safe, f"sha256-{base64.b64encode(hashlib.sha256(safe.encode()).digest()).decode()}")


def _plotly() -> str:
    return _file(PLOTLY, "package_data/plotly.min.js")


def _tables() -> str:
    """The bundle, a module that exports jQuery with DataTables, as an ordinary script."""
    text = _file(TABLES, "html/dt_bundle.js")
    found = re.search(r"export\s*\{([^}]*)\};?", text)
    pairs = [part.split(" as ") for part in found[1].split(",")] if found else []
    names = {pair[-1].strip(): pair[0].strip() for pair in pairs}
    if found is None or "jQuery" not in names:
        raise _misfit(TABLES, "its bundle exports no jQuery")
    given = f"{GLOBAL}={names['jQuery']}.fn.dataTable;"
    return f"(function(){{{text[: found.start()]}{given}{text[found.end() :]}\n}})();"


def _file(package: str, path: str) -> str:
    try:
        return files(package).joinpath(path).read_text("utf-8")
    except OSError as error:
        raise _misfit(package, f"it has no {path}") from error


def _misfit(package: str, why: str) -> UserError:
    return UserError(
        f"the HTML report cannot use {package} {version(package)} ({why}); install the version that constraints.txt "
        f"names, or write other formats, such as --format pdf,csv."
    )


def _own() -> str:
    return files(__package__).joinpath("report.js").read_text("utf-8")
