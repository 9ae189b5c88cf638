"""How should I adapt this pretrained language model to my task, and what does each way cost?

What the command does, four lines of Python do: `run`, `plan`, `report` and `load_records`. A method of one's own
subclasses `Method`. Nothing heavy is imported before a name is used.

The three packages of the suite are `tunefront.bench` (runs and measures), `tunefront.methods` (one file a method) and
`tunefront.reports` (draws stored records). In a checkout they are the folders of these names at its top.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunefront.bench.api import plan as plan
    from tunefront.bench.api import run as run
    from tunefront.bench.records import Record as Record
    from tunefront.bench.records import load_records as load_records
    from tunefront.methods.base import Method as Method
    from tunefront.methods.base import Recipe as Recipe
    from tunefront.methods.base import Unsupported as Unsupported
    from tunefront.methods.inject import plug as plug
    from tunefront.methods.sites import Sites as Sites
    from tunefront.reports import write as report

__all__ = [
    "Method",
    "Recipe",
    "Record",
    "Sites",
    "Unsupported",
    "load_records",
    "plan",
    "plug",
    "report",
    "run",
]

_FROM = {
    "Method": ("tunefront.methods.base", "Method"),
    "Recipe": ("tunefront.methods.base", "Recipe"),
    "Record": ("tunefront.bench.records", "Record"),
    "Sites": ("tunefront.methods.sites", "Sites"),
    "Unsupported": ("tunefront.methods.base", "Unsupported"),
    "load_records": ("tunefront.bench.records", "load_records"),
    "plan": ("tunefront.bench.api", "plan"),
    "plug": ("tunefront.methods.inject", "plug"),
    "report": ("tunefront.reports", "write"),
    "run": ("tunefront.bench.api", "run"),
}
"""Public name -> (module, name there)."""
_PACKAGES = ("bench", "methods", "reports")

_root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if all(os.path.isfile(os.path.join(_root, *place)) for place in (("pyproject.toml",), ("bench", "__init__.py"))):
    # A checkout: its own folders come before those of another one that is installed, so that two never mix.
    __path__.append(_root)


def __getattr__(name: str) -> object:
    """Imports on first use, so that `import tunefront` stays light."""
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _FROM:
        raise AttributeError(f"module 'tunefront' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, inside = _FROM[name]
    return getattr(importlib.import_module(module), inside)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
