"""The options of the commands and of the pytest plugin, texts as typed, made into what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tunefront.bench.errors import Gathered
from tunefront.bench.suites.expand import Plan, plan
from tunefront.bench.suites.overrides import Selectors
from tunefront.bench.suites.toml import seed_of, shots_of
from tunefront.methods.base import Method

if TYPE_CHECKING:
    pass

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
        methods or None,
        backbones or None,
        tasks or None,
        _listed(shots, shots_of, wrong),
        _listed([draws or ""], lambda text: seed_of(text, "draws"), wrong),
        _listed([seeds or ""], seed_of, wrong),
        templates or None,
        pairs(settings, device, wrong),
        more_methods,
    )
    with wrong.any():
        planned = plan(suite, chosen, tell, listing)
    wrong.told()
    return planned


def pairs(settings: Sequence[str] | None, device: str | None, wrong: Gathered) -> dict[str, object]:
    """`key=value` texts and the device -> setting by name."""
    pairs: dict[str, object] = {} if device is None else {"device": device}
    for text in settings or ():
        name, equals, value = text.partition("=")
        if not equals:
            wrong.found.append(f"--set takes key=value, got {text!r}; for example --set learning_rate=1e-3.")
        pairs |= {name.strip(): value} if equals else {}
    return pairs


def _listed(texts: Iterable[str] | None, convert: Callable[[str], T], wrong: Gathered) -> list[T] | None:
    """The parts between commas, each converted; None where there are none."""
    found: list[T] = []
    for part in (part.strip() for text in texts or () for part in text.split(",")):
        if part:
            with wrong.any():
                found.append(convert(part))
    return found or None
