"""Records of sites in a user's TOML file, one table for each architecture."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.files import NotOrdinary, expanded, open_ordinary
from tunefront.methods.sites import SITES, Sites

MOST_BYTES = 2**20
"""More than all architectures of transformers would need."""
_FIELDS = {field.name: field for field in fields(Sites)}
_SHIPPED = dict(SITES)


def use_sites(path: str) -> dict[str, Sites]:
    """Adds the records of a file to those of this process, in place of any of the same architecture; returns them.

    Errors: UserError for a file that cannot be read, an unknown field, and a value that is no site.
    """
    records = read_sites(path)
    add_sites(records)
    return records


def use_all(paths: Iterable[str]) -> None:
    """`use_sites` for each file."""
    for path in paths:
        use_sites(path)


def add_sites(records: Mapping[str, Sites]) -> None:
    """Adds records to those of this process."""
    SITES.update(records)


def added_sites() -> dict[str, Sites]:
    """The records that a file, or a user's own code, added or replaced in this process."""
    return {name: sites for name, sites in SITES.items() if _SHIPPED.get(name) is not sites}


def read_sites(path: str) -> dict[str, Sites]:
    """The records of a file by architecture; errors as in `use_sites`."""
    text = _text(path)
    try:
        tables = tomllib.loads(text)
    except RecursionError as error:
        raise UserError(f"--sites {path} is nested too deeply; it has tables of texts, nothing deeper.") from error
    except ValueError as error:  # also for a number with more digits than Python reads
        raise UserError(f"--sites {path} is not valid TOML: {error}.") from error
    if not tables:
        raise UserError(f"--sites {path} has no table; `tunefront probe MODEL` prints one.")
    return {name: _record(f"--sites {path}: [{name}]", table) for name, table in tables.items()}


def as_toml(model_type: str, sites: Sites) -> str:
    """A record as a table of such a file, without fields that have their default values.

    >>> print(as_toml("mine", SITES["gpt2"]).splitlines()[0])
    [mine]
    """
    lines = [f"[{model_type}]" if re.fullmatch(r"[A-Za-z0-9_-]+", model_type) else f"[{_quoted(model_type)}]"]
    for name, field in _FIELDS.items():
        value = getattr(sites, name)
        if value is not None and value != field.default:
            lines.append(f"{name} = {_as_toml(value)}")
    return "\n".join(lines)


def _text(path: str) -> str:
    """The text of the file; UserError if it cannot be read."""
    try:
        with open_ordinary(expanded(path)) as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"--sites {path} has more than {MOST_BYTES:,} bytes; it has tables of a few lines each.")
        return content.decode("utf-8-sig")
    except NotOrdinary as error:
        raise UserError(f"--sites {path} is {error.strerror}; give a .toml file.") from error
    except OSError as error:
        raise UserError(f"--sites {path} cannot be read ({error.strerror}); give a .toml file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--sites {path} is not UTF-8 text (byte {error.start}).") from error


def _as_toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, frozenset):
        return f"[{', '.join(_quoted(str(item)) for item in sorted(value))}]"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    """A literal string, in which a regex needs no second backslash; a basic one if it has a quote or a control."""
    if "'" not in text and text.isprintable():
        return f"'{text}'"
    escaped = "".join(
        letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08X}" for letter in text
    )
    return f'"{escaped}"'


def _record(label: str, table: object) -> Sites:
    if not isinstance(table, dict):
        raise UserError(f"{label} must be a table with the fields of a record, such as block = '...'.")
    for name in table:
        if name not in _FIELDS:
            raise UserError(f"{label} {unknown('field', name, _FIELDS)}")
    if "block" not in table:
        raise UserError(rf"{label} has no block, the layers of the model, such as block = 'layers\.(\d+)'.")
    values: dict[str, Any] = {  # Any: as the fields
        name: None for name, field in _FIELDS.items() if field.default is MISSING and field.default_factory is MISSING
    }
    values |= {name: _value(f"{label} {name}", name, value) for name, value in table.items()}
    try:
        return Sites(**values)
    except (ValueError, TypeError) as error:
        raise UserError(f"{label} {error}.") from error


def _value(label: str, name: str, value: object) -> object:
    """The value of a field; UserError if it has another type than the field, or is a regex that cannot be read."""
    default = _FIELDS[name].default
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise UserError(f"{label} must be true or false, got {value!r}.")
        return value
    if isinstance(default, frozenset):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(f"{label} must be a list of sites, such as ['query'], got {value!r}.")
        return frozenset(value)
    if not isinstance(value, str):
        raise UserError(f"{label} must be a text, got {value!r}.")
    try:
        groups = re.compile(value).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(f"{label} is not a regular expression ({error}): {value!r}.") from error
    if name == "block" and not groups:
        raise UserError(rf"{label} needs a group around the number of the block, such as layers\.(\d+), got {value!r}.")
    return value
