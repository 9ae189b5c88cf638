"""The options of the commands and of the pytest plugin, texts as typed, made into what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.errors import Gathered, Mistake
from bench.files import check_writable
from bench.parts import seed_of, shots_of
from bench.planning import Plan, look_up, plan
from bench.preflight import check_device, check_files, check_template, few, unskipped
from bench.selection import Selectors, given
from bench.settings import RunConfig, valid
from bench.sweeps import method_of
from methods.base import Method, Recipe

if TYPE_CHECKING:
    from bench.mixtures import Asked
    from bench.pretraining import Pretraining

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
) -> Plan:
    """The cells that the options ask for; what is wrong in the options and in the suite is told together.

    `shots`, `draws` and `seeds` are lists with commas; `settings` are `key=value`; `tell` hears what is looked up.
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
        planned = plan(suite, chosen, tell)
    wrong.told()
    return planned


def pretraining_from(
    method: str,
    backbone: str,
    tasks: Sequence[str],
    template: str,
    settings: Sequence[str] | None,
    device: str | None,
    cap: int,
    seed: int,
    out: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> Pretraining:
    """The pretraining that the options ask for; all that is wrong in them is told together."""
    wrong = Gathered()
    tell("importing the libraries")
    from bench.backbones import check_length, family_of
    from bench.mixtures import asked
    from bench.pretraining import CONFIG, RECIPE, SETTINGS, Pretraining

    of_recipe, of_run = given(pairs(settings, device, wrong), wrong)
    for name in (name for name in of_run if name not in SETTINGS):
        wrong.found.append(f"{name} plays no part in pretraining; of the run settings {', '.join(SETTINGS)} do.")
    recipe, config = RECIPE, CONFIG
    with wrong.any():
        recipe = valid({**vars(RECIPE), **of_recipe}, Recipe)
    with wrong.any():
        config = valid({**vars(CONFIG), **of_run}, RunConfig)
        check_device(config.device)
    trained: list[Method] = []
    with wrong.any():
        trained.append(method_of(method))
    loaded = look_up([backbone], tasks, wrong, tell)
    reading = []  # what would read the prompts: nothing, where the backbone is wrong
    with suppress(Mistake):  # told where it was looked up
        reading = [backbone] if family_of(backbone) != "encoder" else []
        if not reading:
            wrong.found.append(
                f"{backbone} is an encoder, whose tasks have a head each, so that nothing of use is learned from a "
                "mixture of them; give a language model."
            )
    mixture: list[Asked] = []
    tell("trying templates on a few rows")
    for task in loaded:
        with wrong.any():
            mixture.append(asked(task, template))
            check_length(backbone, task, config.max_length)
            for one in mixture[-1].templates:
                check_template(task, one, reading, unskipped(task, one, few(task)), config, wrong)
    check_files(trained, [backbone], wrong)
    wrong.told()
    check_writable(out)
    return Pretraining(trained[0], backbone, tuple(mixture), recipe, config, cap, seed)


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
