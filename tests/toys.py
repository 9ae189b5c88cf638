"""A toy task in memory, fresh tiny backbones for it, and a harness, shared by most tests of methods and bench."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from tunefront.bench.data.task import Kind, MetricSpec, Row, Task
from tunefront.bench.forecast.presets import config_of, fake_model, faking
from tunefront.bench.meters.flops.by_phase import FlopLedger
from tunefront.bench.meters.flops.extrapolate import Counting
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.families.family import Family
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.session import Session
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS, WORDS
from tunefront.bench.settings import resolve_recipe
from tunefront.bench.templates import Prompt, Template, find_template
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.bench.training.instruments import Subject
from tunefront.methods.base import Batch, Method, Recipe, Unsupported
from tunefront.methods.registry import methods
from tunefront.methods.sites import sites_for
from tunefront.methods.spelling import spell

SMALL = {
    "top_layers": {"n": 1},
    "icl": {"k": 4},
    "cartridge": {"k": 4},
    "pfeiffer": {"reduction": 4},
    "compacter": {"reduction": 4},
    "compacter_pp": {"reduction": 4},
    "parallel_adapter": {"bottleneck": 16},
    "fish": {"density": 0.05},
    "said": {"dimension": 256, "variant": "outer"},
}
"""Fields that a two-layer backbone of width 32 and 256 positions needs; every other method runs with its defaults."""


def shipped() -> list[Method]:
    """Every registered method once, except those that other tests define, and those whose optional packages are not
    installed."""
    known = methods().items()
    return [
        cls(**SMALL.get(name, {}))
        for name, cls in known
        if not cls.__module__.startswith("tests.") and all(map(find_spec, cls.packages))
    ]


def pairs() -> list[tuple[Method, str]]:
    """Every method with every encoder family."""
    return [(method, family) for method in shipped() for family in FAMILIES]


def language_pairs() -> list[tuple[Method, str]]:
    """Every method with every language model."""
    return [(method, name) for method in shipped() for name in LANGUAGE_MODELS]


def every_third(of: list[tuple[Method, str]]) -> list[Any]:
    """A third of the pairs that take seconds each, or all with `-m slow`: every method runs on encoders, decoders and
    encoder-decoders, and every family with a third of the methods."""
    methods, families = (list(dict.fromkeys(each)) for each in zip(*of, strict=True))
    return [
        pytest.param(
            method,
            family,
            marks=[] if (methods.index(method) + families.index(family)) % 3 == 0 else [pytest.mark.slow],
        )
        for method, family in of
    ]


def pair_id(value: object) -> str | None:
    """A method as spelled, in test ids."""
    return spell(value) if isinstance(value, Method) else None


def toy_task(
    kind: Kind = "classification", rows: tuple[int, int] = (64, 40), words: tuple[int, int] = (2, 9), seed: int = 0
) -> Task:
    """The sentiment of one word among fillers; `words` bounds how many fillers a row has, `rows` is train and test."""
    generator = random.Random(seed)

    def row(place: int) -> Row:
        label = place % 2
        text = [generator.choice(WORDS[6:]) for _ in range(generator.randint(*words))]
        text.insert(generator.randrange(len(text) + 1), generator.choice(WORDS[3:6] if label else WORDS[:3]))
        return Row(str(place), {"text": " ".join(text)}, float(label) if kind == "regression" else label)

    splits = {name: [row(place) for place in range(count)] for name, count in zip(("train", "test"), rows, strict=True)}
    names = () if kind == "regression" else ("good", "bad")
    metric = MetricSpec("spearman" if kind == "regression" else "accuracy")
    return Task("toy", kind, splits, ("text",), names, (metric,))


@dataclass(frozen=True)
class Listed(Template):
    """A template: the row's text is the prompt, its field `choices` lists the choices, separated by `|`; `separator`
    stands between prompt and answer."""

    name: str = "listed"
    original_task: bool = True
    fingerprint: str = "listed"
    separator: str = " "

    def render(self, task: Task, row: Row) -> Prompt:
        choices = tuple(str(row.fields["choices"]).split("|"))
        return Prompt(str(row.fields["text"]), self.checked(task, row, choices), int(row.label), self.separator)

    def applies(self, task: Task, row: Row) -> bool:
        return True

    def content_free(self, task: Task, filler: str) -> Prompt:
        raise Unsupported("the answers differ from row to row")


def listed_task(texts: Sequence[tuple[str, str, int]], train: int = 0) -> Task:
    """A multiple choice task of (text, choices, label), the first `train` of them to learn from, for `Listed`."""
    rows = [Row(str(place), {"text": t, "choices": c}, label) for place, (t, c, label) in enumerate(texts)]
    metric = MetricSpec("accuracy")
    splits = {"train": rows[:train], "test": rows[train:]}
    return Task("listed", "multiple choice", splits, ("text",), ("choices",), (metric,))


def mixed_task(train: int = 6, test: int = 18, seed: int = 0) -> Task:
    """Questions of 1 to 14 words with two to four choices of one to four words each, some with a common part."""
    generator = random.Random(seed)

    def words(most: int) -> str:
        return " ".join(generator.choice(WORDS) for _ in range(generator.randint(1, most)))

    rows = []
    for _ in range(train + test):
        choices = {words(2)}
        for _ in range(generator.randint(1, 3)):
            distractors = {f"{generator.choice(sorted(choices))} {words(2)}", words(3)} - choices
            choices.add(generator.choice(sorted(distractors)))
        listed = sorted(choices, key=lambda _: generator.random())
        rows.append((f"Review: {words(14)}\nAnswer:", "|".join(listed), generator.randrange(len(listed))))
    return listed_task(rows, train)


def fresh_copy(
    folder: str, task: Task | None = None, seed: int = 0, dropout: float | None = None, **prompting: Any
) -> Backbone:
    """A backbone as published, an encoder with a fresh head; the previous one from the same folder becomes invalid.

    `prompting` has fields of `Prompting` for a language model, the template also by its name.
    """
    task = task or toy_task()
    if not prompting:
        return loaded(folder).fresh_copy(task, seed, dropout)
    template = prompting.pop("template", None)
    if not isinstance(template, Template):
        template = find_template(task, template)
    return loaded(folder).fresh_copy(task, seed, dropout, Prompting(template, **prompting))


_SESSION = Session(most=32)


def loaded(folder: str) -> Pretrained:
    """The weights in a folder, read once."""
    return _SESSION.pretrained(folder)


def trained_on_preset(method: Method, preset: str) -> int:
    """How many parameters a method trains on a published configuration without a head, from shapes alone."""
    model = fake_model(config_of(preset))
    backbone = Family()
    backbone.model, backbone.head = model, None
    backbone.sites = sites_for(model.config.model_type)  # type: ignore[attr-defined]
    with faking(model):
        method.attach(cast(Backbone, backbone))
    return sum(parameter.numel() for parameter in backbone.trainable().values())


def takes_choices(method: Method, folder: str) -> bool:
    """Whether a method runs on multiple choice, where every row has its own choices."""
    try:
        method.attach(fresh_copy(folder, mixed_task(), template=Listed()))
    except Unsupported as reason:
        return "multiple choice" not in str(reason)
    return not getattr(method, "calibrate", False)


def attach(method: Method, backbone: Any) -> None:
    """Attaches a method, or skips the test with the reason that it gives."""
    try:
        method.attach(backbone)
    except Unsupported as reason:
        pytest.skip(str(reason))


def encode(
    backbone: Backbone, task: Task | None = None, split: str = "train", max_length: int = 128
) -> EncodedExamples:
    """The tokenised rows of a split."""
    task = task or toy_task()
    return backbone.encode(task, task.splits[split], max_length)


def harness(
    backbone: Backbone,
    method: Method,
    seed: int = 0,
    features: Any = None,
    rows: int = 16,
    kind: type[MeasuringHarness] = MeasuringHarness,
    report: Any = None,
    counted: bool = True,
    **recipe: Any,
) -> MeasuringHarness:
    """The harness for a method with a few changes to its recipe; `rows` is the scoring batch size. Without
    `counted`, no FLOPs are counted, which takes longer than a few training steps of a tiny model."""
    settings = resolve_recipe(method, {"batch_size": 16, **recipe})
    identity = (spell(method), str(backbone.model.config.name_or_path), str(getattr(backbone, "pooling", None)))
    ledger = FlopLedger(backbone, sum(parameter.numel() for parameter in backbone.model.parameters()))
    made = kind(Subject(backbone.model, settings, seed, identity, rows, ledger), features, report)
    if not counted:
        made.counting = Uncounted(backbone.model, settings, identity, made.subject.autocast)
    return made


class Uncounted(Counting):
    """Counts nothing."""

    def steps(self, *_: object) -> int:
        """None."""
        return 0

    def forward_half(self, *_: object) -> int:
        """None."""
        return 0

    def rows(self, *_: object) -> int:
        """None."""
        return 0


class Untrained(MeasuringHarness):
    """A harness whose training takes no step."""

    def train(self, *_: Any) -> None:
        """Nothing."""


def fit_without_steps(method: Method, backbone: Backbone, examples: EncodedExamples) -> None:
    """Fits a method on a few rows without a step, so that modules made in `fit` exist with their initial values."""
    rows = examples.take(range(max(4, method.fewest_rows)))
    method.fit(backbone, rows, harness(backbone, method, kind=Untrained))


def bare_harness(model: torch.nn.Module, identity: tuple[str, ...] = ("bare",), **recipe: Any) -> MeasuringHarness:
    """A harness without a method."""
    return MeasuringHarness(Subject(model, replace(Recipe(batch_size=8), **recipe), 0, identity))


def shake(parameters: dict[str, torch.nn.Parameter], scale: float = 0.1) -> None:
    """Changes every parameter from its initial value, so that inserted modules have an effect."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def widened(batch: Batch, examples: EncodedExamples, extra: int, left: bool = False) -> Batch:
    """The same batch with `extra` more columns of padding on the right of its texts, or on their left; a language
    model's choices always get it on the right."""

    def padded(name: str, value: Tensor) -> Tensor:
        kind = name.partition("@")[0]  # a prompt after a prefix also has the prefix's name
        if kind in ("kept", "choice_lengths"):
            return value
        filler = examples.padding.get(name, 0)
        if "choice_ids" in batch.inputs and kind.endswith("_ids"):
            filler = 7  # a word that only the mask distinguishes from the others
        return nn.functional.pad(value, (extra, 0) if left and "choice" not in kind else (0, extra), value=filler)

    return Batch({name: padded(name, value) for name, value in batch.inputs.items()}, batch.labels, batch.rows)


def tree(model: nn.Module) -> dict[str, object]:
    """Everything in a model that a method may have changed."""
    hooks = [slot for slot in vars(nn.Module()) if slot.endswith("_hooks")]
    assert "_forward_pre_hooks" in hooks
    modules = {
        path: (type(module), module.training, [len(getattr(module, slot)) for slot in hooks], sorted(vars(module)))
        for path, module in model.named_modules()
    }
    flags = {name: (p.requires_grad, p.grad, p.dtype, p.shape, p.is_leaf) for name, p in model.named_parameters()}
    rates = {path: module.p for path, module in model.named_modules() if isinstance(module, nn.Dropout)}
    return {"modules": modules, "flags": flags, "rates": rates, "config": model.config.to_dict()}
