"""Checks a method class, so that it can be spelled, recorded and constructed again in a worker."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path

from tunefront.methods.base import Method, Recipe, Search

PLAIN = (bool, int, float, str, type(None))
"""Types of field values, which are written in every record and on the command line."""


_CONTRACT = (
    *("name", "recipe", "trains", "files", "folders", "packages", "search"),
    *("fewest_rows", "check", "attach", "fit"),
)
"""Names of the contract, which no field may have."""


def check_class(cls: type[Method]) -> None:
    """Raises ValueError with all problems of a method class, each with what to write instead."""
    problems = list(_problems(cls))
    if problems:
        raise ValueError(f"{where(cls)} {'; '.join(problems)}.")


def check_instance(method: Method) -> None:
    """Raises ValueError for field values that cannot be compared or stored."""
    for field in fields(method):
        value = getattr(method, field.name, MISSING)
        if not isinstance(value, PLAIN):
            kind = "nothing" if value is MISSING else type(value).__name__
            raise ValueError(f"{where(type(method))} has {kind} in its field {field.name}; a field holds {_plain()}")
    try:
        hash(method)
    except Exception as error:
        raise ValueError(
            f"{where(type(method))} has no hash ({describe_error(error)}); leave out its own __eq__"
        ) from error
    try:
        fewest = method.fewest_rows
    except Exception as error:
        raise ValueError(f"{where(type(method))}: fewest_rows raises {describe_error(error)}") from error
    if not isinstance(fewest, int) or fewest < 0:
        raise ValueError(f"{where(type(method))}: fewest_rows must be a whole number from 0, got {fewest!r}")


def is_name(name: object) -> bool:
    """Whether this is a valid method name: lower case, [a-z][a-z0-9_]*."""
    if not isinstance(name, str):
        return False
    return name.isidentifier() and name.isascii() and name == name.lower() and not name.startswith("_")


def members(hint: object) -> Iterator[object]:
    """The members of a union; any other type, a Literal included, by itself."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        for part in typing.get_args(hint):
            yield from members(part)
    else:
        yield hint


def where(cls: type) -> str:
    """The location of a class: `file.py:Class` for a user's file, else its module and name."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    shipped = file is None or Path(file).parent == Path(__file__).parent
    return f"{cls.__module__}.{cls.__qualname__}" if shipped else f"{file}:{cls.__qualname__}"


def describe_error(error: BaseException) -> str:
    """An error's type and the first line of its text, if it has any."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # the text of a user's exception may fail too
        lines = []
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _plain() -> str:
    return "true, false, a number, a text or None"


def _problems(cls: type[Method]) -> Iterator[str]:
    name = inspect.getattr_static(cls, "name", None)
    if not is_name(name):
        yield (
            "needs a class attribute `name` in lower case ([a-z][a-z0-9_]*), as in "
            f'name: ClassVar[str] = "mine", got {_kind(name)}'
        )
    else:
        try:
            _ = cls.name
        except Exception as error:  # raised by its metaclass
            yield f"has a name that cannot be read ({describe_error(error)})"
    if cls.__abstractmethods__:
        missing = " and ".join(f"{method}()" for method in sorted(cls.__abstractmethods__))
        yield f"defines no {missing}; write `def attach(self, backbone: Backbone) -> None`"
    recipe = inspect.getattr_static(cls, "recipe", None)
    if recipe is not None and not isinstance(recipe, Recipe):
        yield (
            f"has a recipe that is {_kind(recipe)}; write recipe: ClassVar[Recipe | None] = Recipe(learning_rate=1e-3) "
            "with tunefront.Recipe"
        )
    search = inspect.getattr_static(cls, "search", None)
    if search is not None and not isinstance(search, Search):
        yield (
            f"has a search that is {_kind(search)}; write search: ClassVar[Search | None] = Search(...) with "
            "tunefront.methods.base.Search"
        )
    trains = inspect.getattr_static(cls, "trains", True)
    if not isinstance(trains, bool):
        yield f"has trains = {_kind(trains)}; write trains: ClassVar[bool] = False if it trains nothing"
    own = [name for name in inspect.get_annotations(cls) if not name.startswith("__")]
    if not is_dataclass(cls):
        yield "is not a dataclass; write @dataclass(frozen=True) above it"
        return
    if "__dataclass_fields__" not in vars(cls) and any(
        name not in ("name", "recipe", "trains", "files", "folders", "packages", "search") for name in own
    ):
        yield f"has fields ({', '.join(own)}) but no decorator; write @dataclass(frozen=True) above it"
        return
    if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield "is not frozen; write @dataclass(frozen=True) above it"
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:
        yield (
            f"has an annotation that cannot be read ({describe_error(error)}); import its names outside TYPE_CHECKING, "
            f"or remove it: a field holds {_plain()}"
        )
        return
    for field in fields(cls):
        yield from _field_problems(field, hints[field.name])
    known = [field.name for field in fields(cls)]
    if isinstance(search, Search) and search.size is not None and search.size not in known:
        yield f"searches over {search.size!r}, which is not one of its fields ({', '.join(known) or 'it has none'})"
    files = inspect.getattr_static(cls, "files", ())
    if not isinstance(files, tuple) or not set(files) <= set(known):
        yield f"has files = {files!r}; write a tuple of names of its fields ({', '.join(known) or 'it has none'})"
    folders = inspect.getattr_static(cls, "folders", {})
    if not isinstance(folders, Mapping) or not set(folders) <= set(known):
        yield (
            f"has folders = {folders!r}; write a mapping from names of its fields ({', '.join(known) or 'it has none'})"
            " to the names of the files that are read there"
        )
    packages = inspect.getattr_static(cls, "packages", ())
    if not isinstance(packages, tuple) or not all(isinstance(package, str) for package in packages):
        yield f"has packages = {packages!r}; write a tuple of names of packages"


def _field_problems(field: Field[typing.Any], hint: object) -> Iterator[str]:
    if field.name in _CONTRACT:
        yield f"has a field {field.name}; write {field.name}: ClassVar[...] = ... to set it on the class"
        return
    literal = [part for part in members(hint) if typing.get_origin(part) is typing.Literal]
    unsupported = [part for part in members(hint) if part not in PLAIN and part not in literal]
    unsupported += [part for part in literal if not all(isinstance(value, PLAIN) for value in typing.get_args(part))]
    if unsupported:
        called = getattr(unsupported[0], "__name__", str(unsupported[0]))
        yield (
            f"has a field {field.name} of type {called}; a field holds {_plain()} (bool, int, float, str, "
            "`int | None`, Literal), since records and the command line spell it"
        )
    elif not field.init:
        yield f"has a field {field.name} with init=False; a worker could not construct the method: remove that"
    elif field.default is not MISSING and not isinstance(field.default, PLAIN):
        yield f"has a field {field.name} whose default is {_kind(field.default)}; a field holds {_plain()}"
    elif field.default is not MISSING and not _fits(field.default, hint):
        yield f"has a field {field.name} whose default {field.default!r} is not of its type {_called(hint)}"


def _fits(value: object, hint: object) -> bool:
    """Whether a default has its field's type; an int is a valid float."""
    for part in members(hint):
        if typing.get_origin(part) is typing.Literal:
            if any(value == known and type(value) is type(known) for known in typing.get_args(part)):
                return True
        elif type(value) is part or (part is float and type(value) is int):
            return True
    return False


def _called(hint: object) -> str:
    return " | ".join(getattr(part, "__name__", str(part)).replace("NoneType", "None") for part in members(hint))


def _kind(value: object) -> str:
    """A value for messages: plain values as they are, others by type."""
    return repr(value) if isinstance(value, PLAIN) else f"a {type(value).__name__}"
