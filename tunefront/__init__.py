"""How should I adapt this pretrained language model to my task, and what does each way cost?

`run`, `stream`, `mix`, `ablate`, `plan`, `check`, `report`, `diff`, `push`, `predict`, `export` and `load_records` do
the same as the command line; `mixed_model` trains one model that answers for several methods and tasks. Your own
method is a subclass of `Method`. Heavy libraries are imported when a name is first used.

The three packages are `tunefront.bench` (runs and measures), `tunefront.methods` (one file per method) and
`tunefront.reports` (draws stored records). In a checkout they are the top-level folders of the same names.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunefront.bench.api import ablate as ablate
    from tunefront.bench.api import check as check
    from tunefront.bench.api import export as export
    from tunefront.bench.api import mix as mix
    from tunefront.bench.api import mixed_model as mixed_model
    from tunefront.bench.api import plan as plan
    from tunefront.bench.api import predict as predict
    from tunefront.bench.api import probe as probe
    from tunefront.bench.api import run as run
    from tunefront.bench.api import stream as stream
    from tunefront.bench.records import Record as Record
    from tunefront.bench.records import Records as Records
    from tunefront.bench.records import load_records as load_records
    from tunefront.methods.base import Method as Method
    from tunefront.methods.base import Recipe as Recipe
    from tunefront.methods.base import Unsupported as Unsupported
    from tunefront.methods.inject import plug as plug
    from tunefront.methods.sites import Sites as Sites
    from tunefront.reports import diff as diff
    from tunefront.reports import push as push
    from tunefront.reports import write as report

__all__ = [
    "Method",
    "Recipe",
    "Record",
    "Records",
    "Sites",
    "Unsupported",
    "ablate",
    "check",
    "diff",
    "export",
    "load_records",
    "mix",
    "mixed_model",
    "plan",
    "plug",
    "predict",
    "probe",
    "push",
    "report",
    "run",
    "stream",
]

_FROM = {
    "Method": ("tunefront.methods.base", "Method"),
    "Recipe": ("tunefront.methods.base", "Recipe"),
    "Record": ("tunefront.bench.records", "Record"),
    "Records": ("tunefront.bench.records", "Records"),
    "Sites": ("tunefront.methods.sites", "Sites"),
    "Unsupported": ("tunefront.methods.base", "Unsupported"),
    "ablate": ("tunefront.bench.api", "ablate"),
    "check": ("tunefront.bench.api", "check"),
    "diff": ("tunefront.reports", "diff"),
    "export": ("tunefront.bench.api", "export"),
    "load_records": ("tunefront.bench.records", "load_records"),
    "mix": ("tunefront.bench.api", "mix"),
    "mixed_model": ("tunefront.bench.api", "mixed_model"),
    "plan": ("tunefront.bench.api", "plan"),
    "plug": ("tunefront.methods.inject", "plug"),
    "predict": ("tunefront.bench.api", "predict"),
    "probe": ("tunefront.bench.api", "probe"),
    "push": ("tunefront.reports", "push"),
    "report": ("tunefront.reports", "write"),
    "run": ("tunefront.bench.api", "run"),
    "stream": ("tunefront.bench.api", "stream"),
}
"""Public name -> (module, name in the module)."""
_PACKAGES = ("bench", "methods", "reports")

_root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if all(os.path.isfile(os.path.join(_root, *place)) for place in (("pyproject.toml",), ("bench", "__init__.py"))):
    # A checkout: its own folders take precedence over an installed copy, so that the two never mix.
    __path__.append(_root)


def __getattr__(name: str) -> object:
    """Imports on first use, so that `import tunefront` stays light."""
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _FROM:
        raise AttributeError(f"module 'tunefront' has no attribute {name!r}; its public names are {', '.join(__all__)}")
    module, attribute = _FROM[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
