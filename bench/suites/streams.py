"""What a call asks of a stream of tasks: orders, the methods with one model for all tasks, and how these train it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunefront.bench.cells import SHARED_WAYS, Way
from tunefront.bench.errors import ErrorCollector, UserError, unknown
from tunefront.bench.suites.lists import parse_values
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.sweeps import method_of, swept_methods
from tunefront.bench.suites.toml import read_suite
from tunefront.bench.suites.values import read_seed, shortened
from tunefront.methods.base import Method

NONE = "none"
"""In place of a method: no method has one model for all tasks."""


@dataclass(frozen=True)
class StreamRequest:
    """Orders by seed, 0 for the order as given; methods that have one model for all tasks, beside one for each; ways in
    which that model treats earlier tasks; the share of each earlier task's rows that `replay` trains on again."""

    orders: tuple[int, ...] = (0, 1, 2)
    one_model: tuple[Method, ...] = ()
    ways: tuple[Way, ...] = SHARED_WAYS
    replay_share: float = 0.1

    @classmethod
    def read(
        cls,
        suite: str,
        orders: Sequence[object],
        one_model: Sequence[str | Method] | None,
        ways: Sequence[object] | None,
        replay_share: object,
        wrong: ErrorCollector,
    ) -> StreamRequest:
        """The request of a program; errors in its values are collected. `one_model` is by default the first method of
        the suite."""
        if not isinstance(suite, str):
            wrong.messages.append(f"suite must be the name of a suite or of a TOML file, got {shortened(suite)}.")
            return cls()
        seeds: list[int] = []
        for order in _listed("orders", orders, wrong):
            with wrong.collect():
                seeds.append(read_seed(order, "orders"))
        known: list[Way] = []
        for name in SHARED_WAYS if ways is None else _listed("ways", ways, wrong):
            with wrong.collect():
                known.append(_way(name))
        methods: list[Method] = []
        with wrong.collect():
            if one_model is None:
                methods += _first_methods(suite)
            else:
                methods += _methods(_listed("one_model", one_model, wrong), wrong)
        share = 0.0
        with wrong.collect():
            share = _share(replay_share)
        if not seeds and not wrong.messages:
            wrong.messages.append("a stream needs at least one order; 0 is the order in which the tasks are given.")
        return cls(tuple(dict.fromkeys(seeds)), tuple(dict.fromkeys(methods)), tuple(dict.fromkeys(known)), share)

    @classmethod
    def from_texts(
        cls,
        suite: str,
        orders: str,
        one_model: Sequence[str] | None,
        ways: Sequence[str] | None,
        replay: str,
        wrong: ErrorCollector,
    ) -> StreamRequest:
        """The request of a command line; errors in its values are collected."""
        typed: dict[str, Sequence[str] | None] = {"--orders": ("0",), "--one-model": None, "--way": None}
        texts = {"--orders": [orders], "--one-model": one_model, "--way": ways}
        for option, text in texts.items():
            with wrong.collect():
                typed[option] = parse_values(option, text, commas=option == "--orders")
        return cls.read(suite, typed["--orders"] or (), typed["--one-model"], typed["--way"], replay, wrong)

    def added_to(self, overrides: Overrides) -> Overrides:
        """The overrides of the same call, with the methods that have one model for all tasks among the methods."""
        return replace(overrides, more_methods=(*overrides.more_methods, *self.one_model))


def _listed(name: str, values: object, wrong: ErrorCollector) -> Sequence[Any]:  # Any: each list has values of its own
    """A list of values; an error for anything else."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        wrong.messages.append(f"{name} must be a list, as in {name}=[{shortened(values)}], got {shortened(values)}.")
        return ()
    return list(values)


def _methods(named: Sequence[object], wrong: ErrorCollector) -> list[Method]:
    """The named methods; none for `none` alone."""
    if NONE in named:
        if len(named) > 1:
            raise UserError(f"--one-model {NONE} means no method: leave the others out, or leave {NONE} out.")
        return []
    methods: list[Method] = []
    for method in named:
        with wrong.collect():
            if not isinstance(method, str | Method):
                raise UserError(f"one_model must have texts or instances of methods, got {shortened(method)}.")
            methods.append(method_of(method) if isinstance(method, str) else method)
    return methods


def _first_methods(suite: str) -> Sequence[Method]:
    """The first method of a suite; none if it names none, or is invalid, which is reported when it is expanded."""
    read = read_suite(suite, ErrorCollector())
    first = next((item for part in read.parts for item in part.methods), None)
    return () if first is None else swept_methods(first, read.folder)[:1]


def _way(name: object) -> Way:
    for way in SHARED_WAYS:
        if name == way:
            return way
    raise UserError(unknown("way", str(name), SHARED_WAYS))


def _share(value: object) -> float:
    """A share above 0 and at most 1; UserError otherwise."""
    try:
        share = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        share = float("nan")
    if isinstance(value, bool) or not 0 < share <= 1:
        raise UserError(
            f"the replayed share of earlier rows must be above 0 and at most 1, such as 0.1, got {shortened(value)}."
        )
    return share
