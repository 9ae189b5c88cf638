"""Jinja for untrusted templates: an allow-list of operations, and counted limits.

`guard` refuses a template with a node that is not listed and rewrites nodes that could take more than constant work.
Operators, attributes and calls go through the environment's methods below, which accept only plain values and the
functions of `calls` and `filters`. Nothing is evaluated at compile time, so all work is metered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError, meta, pass_context
from jinja2.environment import Template
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from tunefront.bench.errors import unknown
from tunefront.bench.templates.sandbox.calls import GLOBALS, METHODS, Allowed, compare, items, part
from tunefront.bench.templates.sandbox.filters import FILTERS, TESTS
from tunefront.bench.templates.sandbox.guard import MARK, SEPARATOR, Guard
from tunefront.bench.templates.sandbox.limits import Fault, Meter, kind, number

LONGEST_SOURCE = 50_000
_LOOP = ("index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem")


@dataclass(frozen=True)
class Source:
    """A compiled template and the variables that it reads."""

    template: Template
    variables: frozenset[str]


def render(source: str, values: Mapping[str, object], salt: str = "") -> list[str]:
    """Renders a template with plain `values`: the stripped parts between its `|||`, or one part if it has none.

    `salt` seeds the filter `choice`. A `|||` within the values is no separator.
    Errors: Fault for any failure, including an exceeded limit.
    """
    program = read(source)
    context = program.template.new_context({name: _unmarked(value) for name, value in values.items()})
    assert isinstance(context, _Context)  # the environment's context_class
    context.meter = Meter(salt)
    try:
        written = "".join(program.template.root_render_func(context))
        return [part.strip() for part in written.split(MARK)]
    except Fault:
        raise
    except UndefinedError as error:
        absent = sorted(program.variables - values.keys())
        name = next((name for name in absent if error.message == f"{name!r} is undefined"), None)
        if name is None:
            raise Fault(f"{_short(error)}; test it first: {{% if ... is defined %}}") from error
        raise Fault(f"there is {unknown('field', name, values).removesuffix('.')}") from error
    except Exception as error:  # any exception of Python for a value of the wrong type
        raise Fault(f"it fails with {type(error).__name__}: {_short(error)}; correct it") from error


@lru_cache(maxsize=1024)
def read(source: str) -> Source:
    """Compiles a template. Errors: Fault for invalid syntax and for operations that are not allowed."""
    if len(source) > LONGEST_SOURCE:
        raise Fault(f"it has more than {LONGEST_SOURCE:,} characters; shorten it")
    try:
        tree = _ENVIRONMENT.parse(source)
        Guard().visit(tree)
        variables = frozenset(meta.find_undeclared_variables(tree))
        tree.set_environment(_ENVIRONMENT)
        code = _ENVIRONMENT.compile(tree)
    except TemplateSyntaxError as error:
        raise Fault(f"it is not valid Jinja, line {error.lineno}: {_short(error)}; correct it") from error
    except (TemplateError, SyntaxError, RecursionError, MemoryError, ValueError, OverflowError) as error:
        raise Fault(f"it cannot be compiled ({_short(error) or 'nested too deeply'}); make it simpler") from error
    return Source(Template.from_code(_ENVIRONMENT, code, _ENVIRONMENT.globals), variables)


def _unmarked(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_unmarked(item) for item in value]
    if isinstance(value, dict):
        return {name: _unmarked(item) for name, item in value.items()}
    return value.replace(MARK, SEPARATOR) if isinstance(value, str) else value


def _short(error: Exception) -> str:
    return f"{error.message if isinstance(error, TemplateError) else error!s:.200}".removesuffix(".")


class _Context(Context):
    """The variables and the meter of one rendering."""

    meter: Meter


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with an allow-list instead of a deny-list."""

    context_class = _Context
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, optimized=False, finalize=_write, extensions=())
        self.globals = dict(GLOBALS)
        self.filters = {name: _contextual(function) for name, function in FILTERS.items()}
        self.tests = {name: _contextual(function) for name, function in TESTS.items()}
        self.built = Allowed(lambda meter, value: meter.build(value))
        self.rounds = Allowed(_rounds)
        self.compared = Allowed(compare)
        self.part = Allowed(part)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A listed method or value of a text, list, tuple, dict, loop or namespace."""
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        for owner, methods in METHODS.items():
            if isinstance(obj, owner) and attribute in methods:
                return Allowed(methods[attribute], (obj,))
        if isinstance(obj, dict) and not attribute.startswith("_"):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, LoopContext) and attribute == "cycle":
            return Allowed(lambda _meter, *values: obj.cycle(*values))
        known = attribute in _LOOP if isinstance(obj, LoopContext) else isinstance(obj, Namespace)
        if not known or attribute.startswith("_"):
            raise Fault(f"it reads {attribute!r} of a {kind(obj)}, which is not allowed; {_instead(obj)}")
        return getattr(obj, attribute, self.undefined(obj=obj, name=attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`, else, as in Jinja, `obj.argument`; undefined if neither exists."""
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        if isinstance(argument, Undefined):
            argument._fail_with_undefined_error()
        if isinstance(obj, (str, list, tuple, dict)) and isinstance(argument, (str, int, float, type(None))):
            try:
                return obj[argument]  # type: ignore[index]  # Python says what may be an index
            except (TypeError, LookupError):
                if not isinstance(argument, str):
                    return self.undefined(obj=obj, name=argument)  # type: ignore[arg-type]  # Jinja passes any
        if isinstance(argument, str):
            return self.getattr(obj, argument)
        raise Fault(f"it takes an item of a {kind(obj)} by a {kind(argument)}; take items of lists by number")

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls an allowed function, without Jinja's own arguments about the call's location."""
        kwargs.pop("_loop_vars", None)
        if isinstance(__obj, Undefined):
            __obj._fail_with_undefined_error()
        if not isinstance(__obj, Allowed):
            raise Fault(f"it calls a {kind(__obj)}; only methods of text and {', '.join(GLOBALS)} can be called")
        return __obj.call(_meter(__context), *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers, `+` of texts or lists, and text or list `*` number."""
        meter = _meter(context)
        if all(isinstance(value, (int, float)) for value in (left, right)) and operator != "**":
            return number(self.binop_table[operator](number(left), number(right)))
        meter.build([left, right])
        if operator == "+" and any(
            isinstance(left, sequence) and isinstance(right, sequence) for sequence in (str, list, tuple)
        ):
            meter.room(len(left) + len(right))
            return left + right
        if operator == "*" and isinstance(left, (str, list, tuple)) and isinstance(right, int):
            meter.room(len(left) * max(0, right))
            return meter.build(left * right)
        raise Fault(f"{operator} is not allowed between a {kind(left)} and a {kind(right)}; join texts with ~")

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        """A sign before a number."""
        _meter(context).read(arg)
        return self.unop_table[operator](arg)


def _contextual(function: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context
    def run(context: Context, *args: Any, **kwargs: Any) -> Any:
        return function(_meter(context), *args, **kwargs)

    return run


@pass_context
def _write(context: Context, value: object) -> str:
    """The text of `{{ value }}`."""
    meter = _meter(context)
    meter.read(value)
    return meter.write(str(value))


def _rounds(meter: Meter, values: Any, size: int) -> list[Any]:
    """The items of a loop; counts all of its iterations."""
    looped = items(meter, values)
    meter.rounds(len(looped), size)
    return looped


def _meter(context: Context) -> Meter:
    assert isinstance(context, _Context)  # the environment's context_class
    return context.meter


def _instead(value: object) -> str:
    listed = _LOOP if isinstance(value, LoopContext) else METHODS.get(type(value), {})
    if isinstance(value, list):
        return "to add to a list: {% set ns.list = ns.list + [item] %} with a namespace"
    return f"allowed: {', '.join(sorted(listed))}" if listed else "take it out"


_ENVIRONMENT = _Environment()
