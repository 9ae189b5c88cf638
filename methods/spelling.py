"""Spells and parses methods, `name:field=value,...`: their identity in records and on the command line."""

from __future__ import annotations

import ast
import difflib
import hashlib
import inspect
import json
import math
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from tunefront.methods.base import Method
from tunefront.methods.checking import check_class, check_instance, describe_error, members, where
from tunefront.methods.registry import UnknownMethod, find, load_file

Value = bool | int | float | str | None


def spell(method: Method, instead: Mapping[str, Value] | None = None) -> str:
    """The identity of a method: its name and every field in declared order, as the command line takes it.

    `instead` replaces the values of some fields, such as a file's path by a hash of its content.

    >>> from tunefront.methods.houlsby import Houlsby
    >>> spell(Houlsby(bottleneck=8))
    'houlsby:bottleneck=8,std=0.001,norms=true'
    """
    return _spelled(type(method), {**_values(method), **(instead or {})})


def label(method: Method, instead: Mapping[str, Value] | None = None) -> str:
    """The short form for reports: only fields that differ from their default, files without their folder, and JSON
    without its quotes, or the start of its sha256 if it is long.

    >>> from tunefront.methods.houlsby import Houlsby
    >>> from tunefront.methods.ia3 import IA3
    >>> label(Houlsby(bottleneck=8)), label(Houlsby()), label(IA3(start="starts/t0.safetensors"))
    ('houlsby:bottleneck=8', 'houlsby', 'ia3:start=t0.safetensors')
    """
    default = {field.name: field.default for field in fields(method)}
    changed = {name: value for name, value in _values(method).items() if value != default[name]}  # MISSING equals none
    changed = {name: _summary(value) for name, value in changed.items()}
    named = (*method.files, *method.folders)
    files = {name: Path(str(changed[name])).name for name in named if changed.get(name) is not None}
    return _spelled(type(method), {**changed, **files, **(instead or {})})


LONGEST_JSON = 48
"""The most characters of a JSON object in a label."""


class _Bare(str):
    """A text that is written without quotes."""


def _summary(value: Value) -> Value:
    """A JSON object as a label shows it; other values as they are.

    >>> print(_summary('{"r":4,"target_modules":["q","v"]}'))
    {r:4,target_modules:[q,v]}
    """
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    bare = value.replace('"', "")
    return _Bare(bare if len(bare) <= LONGEST_JSON else f"@{hashlib.sha256(value.encode()).hexdigest()[:8]}")


def parse(text: str, files: bool = True) -> Method:
    """Parses a spelled method: `houlsby:bottleneck=8`, `houlsby(bottleneck=8)` or `file.py:Class:field=value`.

    Runs a named file; with files=False, for untrusted texts, a file is no method.

    >>> parse("houlsby(bottleneck=8)") == parse("houlsby:bottleneck=8")
    True

    Errors: UnknownMethod, or ValueError that names the invalid field or value.
    """
    if len(text) > LONGEST:
        raise ValueError(f"a spelled method has at most {LONGEST:,} characters, got {len(text):,}: {text[:50]!r}...")
    cls, arguments = _split(text.strip(), files)
    check_class(cls)
    hints = typing.get_type_hints(cls)
    known = {field.name: hints[field.name] for field in fields(cls)}
    values: dict[str, Value] = {}
    for name, value in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            has = f"It has: {', '.join(known)}." if known else "It has none."
            raise ValueError(f"{cls.name} has no field {name!r}{hint} {has}")
        if name in values:
            raise ValueError(f"{text} gives {name} twice")
        values[name] = _convert(value, known[name], f"{name} in {text[:200]}")
    missing = [
        f.name for f in fields(cls) if f.name not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"{text} lacks {', '.join(missing)}; write {cls.name}:{missing[0]}=VALUE")
    try:
        method = cls(**values)
    except ValueError as error:
        raise ValueError(f"{describe_error(error).removeprefix('ValueError: ')} in {text[:200]}.") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ValueError(f"{where(cls)} could not be constructed from {text}: {describe_error(error)}.") from error
    check_instance(method)
    return method


LONGEST = 10_000
"""Maximum characters of a spelled method."""


_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PARTS = re.compile(rf"(?:{_QUOTED}|[^,])+")
_OBJECT = re.compile(r"\s*\w+\s*=\s*\{")
_PLAIN = re.compile(r"[^\s,\"'()\\]+")


class _Quoted(str):
    """A quoted text, which is no number, boolean or none."""


def _split(text: str, files: bool) -> tuple[type[Method], list[tuple[str, object]]]:
    """A spelled method -> its class and (field, value) pairs, with values still texts or literals."""
    if text.endswith(")") and "(" in text:
        head, _, inside = text[:-1].partition("(")
        try:
            call = ast.parse(f"f({inside})", mode="eval").body
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
                raise ValueError  # more than one call, such as f(a=1)(b=2)
            if any(keyword.arg is None for keyword in call.keywords):
                raise ValueError
            values = [(str(keyword.arg), ast.literal_eval(keyword.value)) for keyword in call.keywords]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(f"cannot read {text!r}; write name(field=value, ...) with plain values") from error
        return _class(head, files), [
            (name, _Quoted(value) if isinstance(value, str) else value) for name, value in values
        ]
    head, rest = _head(text)
    return _class(head, files), [_pair(part, text) for part in _parts(rest) if part.strip()]


def _parts(rest: str) -> Iterator[str]:
    """The `field=value` parts of a spelled method. A value in quotes, or a JSON object, may contain commas.

    >>> list(_parts('type=LORA,config={"r":4,"target_modules":["q","v"]},folder=a'))
    ['type=LORA', 'config={"r":4,"target_modules":["q","v"]}', 'folder=a']
    """
    place = 0
    while place < len(rest):
        part = _OBJECT.match(rest, place)
        end = _end_of_object(rest, part.end() - 1) if part else None
        if end is None:
            plain = _PARTS.match(rest, place)
            end = plain.end() if plain else place
        yield rest[place:end]
        place = end + 1


def _end_of_object(text: str, start: int) -> int | None:
    """The end of the JSON object that begins at `start`; None if it has none, or if more than a comma follows it."""
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        depth = 0  # broken JSON: the field's own check says where
        for token in re.finditer(rf"{_QUOTED}|[{{}}]", text[start:]):
            depth += {"{": 1, "}": -1}.get(token[0], 0)
            if depth == 0:
                return start + token.end()
        return None
    return end if text[end : end + 1] in ("", ",") else None


def _head(text: str) -> tuple[str, str]:
    if ".py:" in text:
        file, _, rest = text.partition(".py:")
        cls, _, rest = rest.partition(":")
        return f"{file}.py:{cls}", rest
    head, _, rest = text.partition(":")
    return head, rest


def _pair(part: str, text: str) -> tuple[str, object]:
    name, equals, value = part.partition("=")
    if not equals:
        raise ValueError(f"cannot read {part!r} in {text!r}; write name:field=value,field=value")
    value = value.strip()
    if not value.startswith('"'):
        return name.strip(), value
    try:
        return name.strip(), _Quoted(json.loads(value))
    except ValueError as error:
        raise ValueError(f"cannot read {value} in {text!r}; a quoted text ends with a quote") from error


def _class(head: str, files: bool) -> type[Method]:
    if ".py:" not in head:
        return find(head)
    if not files:
        raise UnknownMethod(f"{head[:80]!r} names a file, not a method.")
    file, _, name = head.rpartition(":")
    module = load_file(file)
    cls = vars(module).get(name)
    if not inspect.isclass(cls) or not issubclass(cls, Method) or cls is Method:
        classes = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, Method) and c is not Method]
        own = [c.__name__ for c in classes if c.__module__ == module.__name__]
        has = f"it has: {', '.join(own) or 'none'}"
        if name in vars(module):
            raise UnknownMethod(f"{name} in {file} is not a method class (a subclass of tunefront.Method); {has}.")
        raise UnknownMethod(f"{file} has no method class {name!r}; {has}.")
    check_class(cls)
    return find(cls.name)


def _convert(value: object, hint: object, what: str) -> Value:
    """Converts a text or literal to the field's type: bool, int, float, str, or one of these or None."""
    kinds = set(members(hint))
    choices = [
        choice for kind in kinds if typing.get_origin(kind) is typing.Literal for choice in typing.get_args(kind)
    ]
    if choices:
        kinds = {kind for kind in kinds if typing.get_origin(kind) is not typing.Literal}
        for choice in choices:
            if value == choice or (not isinstance(value, _Quoted) and str(value).lower() == _written(choice)):
                return typing.cast(Value, choice)
        if not kinds:
            raise ValueError(f"{what} must be one of {', '.join(map(str, choices))}, got {value!r}")
    literal = _literal(value) if isinstance(value, str) and not isinstance(value, _Quoted) else value
    if literal is None and type(None) in kinds:
        return None
    if isinstance(literal, bool) and bool in kinds:
        return literal
    if isinstance(literal, int) and not isinstance(literal, bool) and int in kinds:
        if literal.bit_length() > LONGEST:  # beyond Python's limit of digits
            raise ValueError(f"{what} is a number of {literal.bit_length()} bits; give a smaller one")
        return literal
    if isinstance(literal, int | float) and not isinstance(literal, bool) and float in kinds:
        try:
            return float(literal)
        except OverflowError:
            return math.inf  # which every method refuses
    if str in kinds and isinstance(value, str):
        return str(value)
    names = " or ".join(sorted(getattr(kind, "__name__", str(kind)).replace("NoneType", "none") for kind in kinds))
    raise ValueError(f"{what} must be {names}, got {value!r}")


def _literal(text: str) -> object:
    named = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in named:
        return named[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _values(method: Method) -> dict[str, Value]:
    """A method's fields, with ints of float fields converted, so that equal methods have one spelling."""
    values = {field.name: getattr(method, field.name) for field in fields(method)}
    for name in _float_fields(type(method)):
        if isinstance(value := values[name], int) and not isinstance(value, bool):
            values[name] = float(value)
    return values


_known_float_fields: WeakKeyDictionary[type[Method], tuple[str, ...]] = WeakKeyDictionary()
"""Thousands of cells have a few classes, and a class never changes its fields. Keys are weak: a class that a program
defines again must not stay registered beside the new one."""


def _float_fields(cls: type[Method]) -> tuple[str, ...]:
    """The fields that take a float and no int."""
    if cls not in _known_float_fields:
        hints = typing.get_type_hints(cls)
        kinds = {field.name: set(members(hints[field.name])) for field in fields(cls)}
        _known_float_fields[cls] = tuple(name for name, known in kinds.items() if float in known and int not in known)
    return _known_float_fields[cls]


def _spelled(cls: type[Method], values: dict[str, Any]) -> str:  # Any: field values of any method
    inside = ",".join(f"{name}={_written(value)}" for name, value in values.items())
    return f"{cls.name}:{inside}" if inside else cls.name


def _written(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, _Bare) or (isinstance(value, str) and _PLAIN.fullmatch(value) and _literal(value) is value):
        return value
    return json.dumps(value, ensure_ascii=False)
