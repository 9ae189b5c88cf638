"""Functions that a template may call, apart from filters: methods of str, list, tuple and dict, `range`, `zip` and
`namespace`.

Each takes the meter as its first argument. Methods that pad or format are missing, since a width makes a text of any
length from nothing, and so are methods that mutate.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.utils import Namespace

from tunefront.bench.templates.sandbox.limits import ROUNDS, Fault, Meter

Function = Callable[..., Any]
"""Called with the meter and the arguments that the template passes."""
_LONGEST_STRIPPED = 100


@dataclass(frozen=True, eq=False)
class Allowed:
    """A function that a template may call, and the bound values that precede the template's arguments."""

    function: Function
    bound: tuple[object, ...] = ()

    def call(self, meter: Meter, *args: object, **kwargs: object) -> object:
        """Calls the function."""
        return self.function(meter, *self.bound, *args, **kwargs)


def metered(function: Function) -> Function:
    """Meters a function of plain values whose result is no larger than its arguments."""

    def run(meter: Meter, *args: object, **kwargs: object) -> object:
        meter.read(*args, *kwargs.values())
        return meter.build(function(*args, **kwargs))

    return run


def string(meter: Meter, value: object) -> str:
    """A plain value as text."""
    meter.read(value)
    return str(value)


def items(meter: Meter, values: Iterable[object]) -> list[Any]:
    """The items of a text, list, tuple or dict."""
    meter.read(values)
    return meter.build(list(values)) if isinstance(values, str) else list(values)


def join(meter: Meter, values: Iterable[object], between: object = "") -> str:
    """The values as one text."""
    texts, gap = [str(value) for value in items(meter, values)], string(meter, between)
    meter.room(sum(map(len, texts)) + len(gap) * len(texts))
    return gap.join(texts)


def replace(meter: Meter, value: object, old: object, new: object, count: int = -1) -> str:
    """The value as text with `old` replaced by `new`, only the first `count` times unless that is negative."""
    text, before, after = string(meter, value), string(meter, old), string(meter, new)
    replaced = text.count(before) if count < 0 else min(text.count(before), count)
    meter.room(len(text) + replaced * max(0, len(after) - len(before)))
    return text.replace(before, after, count)


def compare(meter: Meter, left: object, *rest: object) -> bool:
    """`left < middle <= right`; each operator (by its Jinja name) precedes its right operand."""
    meter.read(left, *rest)
    values = [left, *rest[1::2]]
    return all(OPERATORS[str(name)](*pair) for name, *pair in zip(rest[::2], values, values[1:], strict=False))


def part(
    meter: Meter, value: Sequence[object], start: int | None, stop: int | None, step: int | None
) -> Sequence[object]:
    """`value[start:stop:step]`."""
    return meter.build(meter.build(value)[start:stop:step])


def _strip(method: Function) -> Function:
    """Limits the set of stripped characters, in which Python looks up every character."""

    def run(meter: Meter, text: str, characters: str | None = None) -> object:
        if characters is not None and len(characters) > _LONGEST_STRIPPED:
            raise Fault(f"it strips a set of more than {_LONGEST_STRIPPED} characters; strip fewer")
        meter.read(text)
        return method(text, characters)

    return run


def _range(meter: Meter, *bounds: int) -> list[int]:
    wanted = range(*bounds)
    if wanted and abs(wanted[-1] - wanted[0]) // abs(wanted.step) >= ROUNDS:
        raise Fault(f"range(...) has more than {ROUNDS:,} numbers; use a shorter one")
    return meter.build(list(wanted))


def _zip(meter: Meter, *lists: Iterable[object]) -> list[tuple[object, ...]]:
    return meter.build(list(zip(*(items(meter, values) for values in lists), strict=False)))


def _namespace(meter: Meter, *args: Mapping[str, object], **kwargs: object) -> Namespace:
    meter.build([*args, kwargs])
    return Namespace(*args, **kwargs)


OPERATORS: dict[str, Function] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda left, right: left in right,
    "notin": lambda left, right: left not in right,
}

_TEXT = (
    *("capitalize", "casefold", "lower", "swapcase", "title", "upper", "removeprefix", "removesuffix"),
    *("count", "find", "index", "rfind", "rindex", "startswith", "endswith"),
    *("isalnum", "isalpha", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper"),
    *("partition", "rpartition", "rsplit", "split", "splitlines"),
)
METHODS: dict[type, dict[str, Function]] = {
    str: {
        **{name: metered(getattr(str, name)) for name in _TEXT},
        **{name: _strip(getattr(str, name)) for name in ("lstrip", "rstrip", "strip")},
        "join": lambda meter, between, values: join(meter, values, between),
        "replace": replace,
    },
    list: {name: metered(getattr(list, name)) for name in ("count", "index")},
    tuple: {name: metered(getattr(tuple, name)) for name in ("count", "index")},
    dict: {
        "get": metered(dict.get),
        "items": metered(lambda value: list(value.items())),
        "keys": metered(lambda value: list(value.keys())),
        "values": metered(lambda value: list(value.values())),
    },
}
GLOBALS = {"namespace": Allowed(_namespace), "range": Allowed(_range), "zip": Allowed(_zip)}
