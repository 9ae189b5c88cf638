"""The filters and tests that a template may use: Jinja's on text, numbers and lists, and PromptSource's.

Each takes the meter as its first argument. They behave like Jinja's, without `attribute=`; `choice` and `random` are
deterministic. Filters that pad (`center`, `indent`), format, mark up or read attributes (`attr`) are missing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jinja2.runtime import Undefined

from tunefront.bench.errors import unknown
from tunefront.bench.templates.sandbox.calls import METHODS, Function, compare, items, join, metered, replace, string
from tunefront.bench.templates.sandbox.limits import Fault, Meter, kind, number


def named(functions: Mapping[str, Function], kind: str, name: str) -> Function:
    """The filter or test of this name; Fault, with the nearest name, if it does not exist or is not allowed."""
    if name not in functions:
        raise Fault(f"there is {unknown(kind, name, functions).removesuffix('.')}")
    return functions[name]


def _case(case_sensitive: bool) -> Function:
    return lambda value: value.lower() if isinstance(value, str) and not case_sensitive else value


def _sort(meter: Meter, values: Iterable[Any], reverse: bool = False, case_sensitive: bool = False) -> list[Any]:
    return meter.build(sorted(items(meter, values), key=_case(case_sensitive), reverse=reverse))


def _unique(meter: Meter, values: Iterable[Any], case_sensitive: bool = False) -> list[Any]:
    kept: dict[Any, Any] = {}
    for value in items(meter, values):
        kept.setdefault(_case(case_sensitive)(value), value)
    return meter.build(list(kept.values()))


def _most_frequent(meter: Meter, values: Iterable[Any]) -> list[Any] | None:
    """PromptSource's filter: all most frequent values, None if there are no values."""
    counts = Counter(items(meter, values))
    most = max(counts.values(), default=0)
    return meter.build([value for value, count in counts.items() if count == most]) if counts else None


def _nonempty(take: Callable[[Meter, Any], Any]) -> Function:
    def run(meter: Meter, values: Sequence[Any]) -> Any:
        if not len(values):
            raise Fault("it takes an item of an empty list; test it first: {% if values %}")
        return take(meter, values)

    return run


def _reverse(meter: Meter, value: Iterable[Any]) -> object:
    reverse = items(meter, value)[::-1]
    return "".join(reverse) if isinstance(value, str) else meter.build(reverse)


def _default(_: Meter, value: object, default_value: object = "", boolean: bool = False) -> object:
    return default_value if isinstance(value, Undefined) or (boolean and not value) else value


def _float(meter: Meter, value: Any, default: Any = 0.0) -> Any:
    meter.read(value)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _int(meter: Meter, value: Any, default: Any = 0) -> Any:
    meter.read(value)
    try:
        return number(int(value))
    except (TypeError, ValueError, OverflowError):
        real = _float(meter, value, math.nan)
        return number(int(real)) if math.isfinite(real) else default


def _round(meter: Meter, value: float, precision: int = 0, method: str = "common") -> float:
    meter.read(value)
    if method not in ("common", "ceil", "floor") or not 0 <= precision <= 15:
        raise Fault("`round` takes a precision of 0 to 15 and the method common, ceil or floor; use one of these")
    if method == "common":
        return round(value, precision)
    return float({"ceil": math.ceil, "floor": math.floor}[method](value * 10**precision) / 10**precision)


def _sum(meter: Meter, values: Iterable[Any]) -> float:
    return sum(_numeric(value) for value in items(meter, values))


def _numeric(value: Any) -> Any:
    if not isinstance(value, (int, float)):
        raise Fault(f"a number is needed, got a {kind(value)}; convert it with | int")
    return number(value)


def _title(meter: Meter, value: object) -> str:
    parts = re.split(r"([-\s({\[<]+)", string(meter, value))
    return "".join(part[0].upper() + part[1:].lower() for part in parts if part)


def _truncate(
    meter: Meter, value: object, length: int = 255, killwords: bool = False, end: str = "...", leeway: int = 5
) -> str:
    text = string(meter, value)
    if len(text) <= length + leeway:
        return text
    cut = text[: max(0, length - len(string(meter, end)))]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


def _map(meter: Meter, values: Iterable[object], name: str, *args: object) -> list[object]:
    return meter.build([named(FILTERS, "filter", name)(meter, value, *args) for value in items(meter, values)])


def _select(wanted: bool) -> Function:
    def run(meter: Meter, values: Iterable[object], name: str | None = None, *args: object) -> list[object]:
        def passes(value: object) -> bool:
            return bool(named(TESTS, "test", name)(meter, value, *args) if name else value)

        return meter.build([value for value in items(meter, values) if passes(value) is wanted])

    return run


def _is(kind: type | tuple[type, ...]) -> Function:
    return lambda _, value: isinstance(value, kind)


def _compared(name: str) -> Function:
    return lambda meter, left, right: compare(meter, left, name, right)


_strip = METHODS[str]["strip"]
_pick = _nonempty(lambda meter, values: values[meter.draw(len(values))])

FILTERS: dict[str, Function] = {
    "abs": metered(abs),
    "capitalize": lambda meter, value: string(meter, value).capitalize(),
    "choice": _pick,
    "count": lambda _, values: len(values),
    "d": _default,
    "default": _default,
    "first": _nonempty(lambda _, values: next(iter(values))),
    "float": _float,
    "int": _int,
    "items": METHODS[dict]["items"],
    "join": lambda meter, values, d="": join(meter, values, d),
    "last": _nonempty(lambda _, values: next(reversed(values))),
    "length": lambda _, values: len(values),
    "list": lambda meter, values: meter.build(items(meter, values)),
    "lower": lambda meter, value: string(meter, value).lower(),
    "map": _map,
    "max": _nonempty(lambda meter, values: max(items(meter, values), key=_case(False))),
    "min": _nonempty(lambda meter, values: min(items(meter, values), key=_case(False))),
    "most_frequent": _most_frequent,
    "random": _pick,
    "reject": _select(False),
    "replace": replace,
    "reverse": _reverse,
    "round": _round,
    "select": _select(True),
    "sort": _sort,
    "string": string,
    "sum": _sum,
    "title": _title,
    "trim": lambda meter, value, chars=None: _strip(meter, string(meter, value), chars),
    "truncate": _truncate,
    "unique": _unique,
    "upper": lambda meter, value: string(meter, value).upper(),
    "wordcount": lambda meter, value: len(re.findall(r"\w+", string(meter, value))),
}

TESTS: dict[str, Function] = {
    "boolean": lambda _, value: value is True or value is False,
    "defined": lambda _, value: not isinstance(value, Undefined),
    "divisibleby": lambda _, value, by: _numeric(value) % _numeric(by) == 0,
    "even": lambda _, value: _numeric(value) % 2 == 0,
    "false": lambda _, value: value is False,
    "float": _is(float),
    "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
    "iterable": _is((str, list, tuple, dict)),
    "mapping": _is(dict),
    "none": lambda _, value: value is None,
    "number": _is((int, float)),
    "odd": lambda _, value: _numeric(value) % 2 == 1,
    "sequence": _is((str, list, tuple, dict)),
    "string": _is(str),
    "true": lambda _, value: value is True,
    "undefined": _is(Undefined),
    **{name: _compared("eq") for name in ("eq", "==", "equalto")},
    **{name: _compared("ne") for name in ("ne", "!=")},
    **{name: _compared("lt") for name in ("lt", "<", "lessthan")},
    **{name: _compared("lteq") for name in ("le", "<=")},
    **{name: _compared("gt") for name in ("gt", ">", "greaterthan")},
    **{name: _compared("gteq") for name in ("ge", ">=")},
    "in": _compared("in"),
}
