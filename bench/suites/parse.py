"""The options of the commands and of the pytest plugin, texts as typed, made into what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tunefront.bench.errors import Gathered, Mistakes
from tunefront.bench.suites.expand import Plan, plan
from tunefront.bench.suites.lists import listed
from tunefront.bench.suites.overrides import Selectors
from tunefront.bench.suites.toml import seed_of, shots_of
from tunefront.methods.base import Method

T = TypeVar("T")


def planned_from(
    suite: str,
    methods: Sequence[str | Method] | None = None,
    backbones: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    shots: Sequence[str] | None = None,
    draws: str | None = None,
    seeds: str | None = None,
    templates: Sequence[str] | None = None,
    settings: Sequence[str] | None = None,
    device: str | None = None,
    more_methods: Sequence[Method] = (),
    tell: Callable[[str], None] = lambda _: None,
    listing: bool = False,
) -> Plan:
    """The cells that the options ask for; what is wrong in the options and in the suite is told together.

    `shots`, `draws` and `seeds` are lists with commas; `settings` are `key=value`; `tell` hears what is looked up;
    `listing` as in `plan`.
    """
    wrong = Gathered()
    chosen = Selectors(
        _given("--method", methods, wrong),
        _given("--backbone", backbones, wrong),
        _given("--task", tasks, wrong),
        _converted("--shots", shots, shots_of, wrong),
        _converted("--draws", None if draws is None else [draws], lambda text: seed_of(text, "draws"), wrong),
        _converted("--seeds", None if seeds is None else [seeds], seed_of, wrong),
        _given("--template", templates, wrong),
        pairs(settings, device, wrong),
        more_methods,
    )
    if not suite.strip():
        raise Mistakes([*wrong.found, "SUITE is blank; name a suite (see `tunefront list suites`), or leave it out."])
    with wrong.any():
        planned = plan(suite, chosen, tell, listing)
    wrong.told()
    return planned


def pairs(settings: Sequence[str] | None, device: str | None, wrong: Gathered) -> dict[str, object]:
    """`key=value` texts and the device -> setting by name."""
    pairs: dict[str, object] = {}
    with wrong.any():
        pairs |= {} if device is None else {"device": (listed("--device", [device]) or [device])[0]}
    for text in _given("--set", settings, wrong) or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            wrong.found.append(f"--set takes key=value, got {text!r}; for example --set learning_rate=1e-3.")
        elif name in pairs:
            wrong.found.append(f"{name} is set twice, to {pairs[name]} and {value}; give one of them.")
        else:
            pairs[name] = value
    return pairs


def _given(option: str, values: Sequence[Any] | None, wrong: Gathered) -> list[Any] | None:
    """What is given of an option, texts as typed; None where nothing is, or nothing of use."""
    found: list[Any] = [value for value in values or () if not isinstance(value, str)]
    with wrong.any():
        found += listed(option, [value for value in values or () if isinstance(value, str)]) or []
    return found or None


def _converted(
    option: str, texts: Sequence[str] | None, convert: Callable[[str], T], wrong: Gathered
) -> list[T] | None:
    """The parts between commas, each converted; None where there are none."""
    found: list[T] = []
    with wrong.any():
        for part in listed(option, texts, commas=True) or ():
            with wrong.any():
                found.append(convert(part))
    return found or None
