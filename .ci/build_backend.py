"""setuptools' build backend, but for `pip install -e`, which two folders of one name would break.

The packages lie beside `tunefront/` in a checkout, not inside it, so setuptools would install a finder that is asked
last. In the folder that holds a clone called `tunefront`, Python then takes the clone itself for a package without code
(a namespace), and `from tunefront import run` fails. The finder below is asked first, and answers only where no real
package of that name is nearer: in another checkout, the other checkout's.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  # the other hooks as they are

ROOT = Path(__file__).resolve().parent.parent
FINDER = '''"""Finds `tunefront` in a checkout, unless another real package of that name comes first on the path."""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location

PLACE = {place!r}


class CheckoutFinder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "tunefront":
            return None
        nearest = PathFinder.find_spec(name)
        if nearest is not None and nearest.has_location:
            return nearest
        return spec_from_file_location(name, PLACE) if os.path.isfile(PLACE) else None


sys.meta_path.insert(0, CheckoutFinder)
'''
MODULE = "__editable___tunefront_finder"
"""pytest, of whose plugins this distribution has one, passes over modules whose name begins so."""
WHEEL = "Wheel-Version: 1.0\nGenerator: tunefront\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,  # Any: as PEP 660 has it
    metadata_directory: str | None = None,
) -> str:
    """A wheel of the metadata and the finder, which Python runs at its start; its name (PEP 660)."""
    with tempfile.TemporaryDirectory() as made:
        info = Path(made, build_meta.prepare_metadata_for_build_wheel(made, config_settings))
        content = {
            path.relative_to(made).as_posix(): path.read_bytes()
            for path in sorted(info.rglob("*"))
            if path.is_file() and path.name != "RECORD"
        }
    content[f"{info.name}/WHEEL"] = WHEEL.encode()
    content[f"{MODULE}.py"] = FINDER.format(place=str(ROOT / "tunefront" / "__init__.py")).encode()
    content[f"{MODULE}.pth"] = f"import {MODULE}\n".encode()
    rows = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in content.items()]
    record = f"{info.name}/RECORD"
    content[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    name = f"{info.name.removesuffix('.dist-info')}-0.editable-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory, name), "w") as wheel:
        for member, data in content.items():
            wheel.writestr(member, data)
    return name


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
