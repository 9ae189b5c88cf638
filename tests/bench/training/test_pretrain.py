"""Mixtures of tasks, the examples joined from them, and the file that pretraining writes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toys import bare_harness, loaded, toy_task
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.models.checkpoints import header, tensors
from tunefront.bench.models.families import Prompting
from tunefront.bench.models.locate import fingerprint
from tunefront.bench.models.losses import LossWeights
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.templates import Prompt, Template, find_template
from tunefront.bench.training.instruments import Instruments
from tunefront.bench.training.mixture import MixtureTask, draw_rows, with_template
from tunefront.bench.training.pretrain import CONFIG, RECIPE, Pretraining, pretrain
from tunefront.bench.training.step import NotFinite
from tunefront.methods.base import Method, Recipe
from tunefront.methods.bitfit import BitFit
from tunefront.methods.features import Features
from tunefront.methods.full import Full
from tunefront.methods.houlsby import Houlsby
from tunefront.methods.ia3 import IA3
from tunefront.methods.icl import ICL


@dataclass(frozen=True)
class Wording(Template):
    """A template with its own question; skips rows whose number is a multiple of `skips`."""

    name: str
    question: str = "Is this review positive?"
    skips: int = 0
    original_task: bool = True

    @property
    def fingerprint(self) -> str:
        return f"{self.name} {self.question} {self.skips}"

    def render(self, task: Task, row: Row) -> Prompt:
        if not self.applies(task, row):
            raise self.mistake(task, row, "skipped")
        return Prompt(f"{row.fields['text']} {self.question}", ("yes", "no it is not"), int(row.label))

    def applies(self, task: Task, row: Row) -> bool:
        return not (self.skips and int(row.id) % self.skips == 0)

    def content_free(self, task: Task, filler: str) -> Prompt:
        raise NotImplementedError


def three_way() -> Task:
    """A task with other choices: which of three words occurs."""
    words = ("film", "book", "movie")
    rows = [Row(str(place), {"text": f"the {words[place % 3]} was fine"}, place % 3) for place in range(30)]
    return Task("three", "classification", {"train": rows, "test": rows[:6]}, ("text",), words, (MetricSpec("f1"),))


def mixture() -> tuple[MixtureTask, ...]:
    sentiment, three = toy_task(), three_way()
    return (
        MixtureTask(sentiment, (Wording("a"), Wording("b", "Does this express positive sentiment?"))),
        MixtureTask(three, (find_template(three, None),)),
    )


def counts(parts: list[tuple[Task, Template, list[Row]]]) -> dict[tuple[str, str], int]:
    return {(task.name, template.name): len(rows) for task, template, rows in parts}


def test_a_task_s_rows_are_capped_over_all_its_templates() -> None:
    assert counts(draw_rows(mixture())) == {("toy", "a"): 64, ("toy", "b"): 64, ("three", "plain"): 30}
    assert counts(draw_rows(mixture(), cap=40)) == {("toy", "a"): 20, ("toy", "b"): 20, ("three", "plain"): 30}
    assert counts(draw_rows(mixture(), cap=1)) == {("toy", "a"): 1, ("toy", "b"): 1, ("three", "plain"): 1}


def test_only_rows_for_training_are_drawn_and_all_parts_have_their_share() -> None:
    parts = draw_rows(mixture(), most=79)
    drawn = counts(parts)
    assert sum(drawn.values()) == 79
    assert all(abs(drawn[part] - share / 2) < 12 for part, share in counts(draw_rows(mixture())).items())
    assert len({row.id for row in parts[0][2]}) == drawn["toy", "a"], "no row twice"
    rows = [[row.id for row in rows] for _, _, rows in parts]
    assert rows == [[row.id for row in rows] for _, _, rows in draw_rows(mixture(), most=79)]
    assert rows != [[row.id for row in rows] for _, _, rows in draw_rows(mixture(), most=79, seed=1)]


def test_rows_that_a_template_skips_are_dropped() -> None:
    task = toy_task()
    ((_, _, rows),) = draw_rows([MixtureTask(task, (Wording("a", skips=2),))])
    assert sorted(int(row.id) for row in rows) == list(range(1, 64, 2))


def test_all_means_every_template_that_ranks_answers(tmp_path: Path) -> None:
    written = [
        f"  {name}: !Template\n    name: {name}\n    jinja: '{{{{ text }}}} ||| {{{{ answer_choices[label] }}}}'\n"
        f"    answer_choices: '{choices}'\n    metadata: !TemplateMetadata\n      original_task: {original}\n"
        for name, choices, original in (
            ("a", "x ||| y", "true"),
            ("b", "x ||| y", "false"),
            ("c", "x ||| y ||| z", "true"),
        )
    ]
    (tmp_path / "templates.yaml").write_text("templates:\n" + "".join(written), encoding="utf-8")
    task = replace(toy_task(), templates=tmp_path / "templates.yaml")
    assert [template.name for template in with_template(task, "all").templates] == ["a", "b"]
    assert [template.name for template in with_template(task, "plain").templates] == ["plain"]
    assert [template.name for template in with_template(toy_task(), "all").templates] == ["plain"]
    with pytest.raises(UserError, match="cannot be ranked"):
        with_template(task, "c")
    with pytest.raises(UserError, match="toy is regression"):
        with_template(toy_task("regression"), "all")


def encoded(backbone: Any) -> list[PromptedExamples]:
    return [
        backbone.with_task(task, template).encode(task, rows[:7], 64) for task, template, rows in draw_rows(mixture())
    ]


def backbone_of(folder: str, **losses: float) -> Any:
    first = mixture()[0]
    return loaded(folder).fresh_copy(first.task, 0, None, Prompting(first.templates[0], losses=LossWeights(**losses)))


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_joined_examples_are_those_of_the_parts(name: str, language_models: dict[str, str]) -> None:
    backbone = backbone_of(language_models[name])
    backbone.model.eval()
    parts = encoded(backbone)
    joined = PromptedExamples.joined(parts)
    assert len(joined) == len(joined.ids) == len(joined.prompts) == 21
    assert joined.lengths == tuple(length for part in parts for length in part.lengths)
    assert joined.truncated == sum(part.truncated for part in parts)
    with torch.no_grad():
        mixed = backbone.score(joined.batch([3, 17, 9]))
        apart = [backbone.score(part.batch([row]))[0] for part, row in ((parts[0], 3), (parts[2], 3), (parts[1], 2))]
    for together, alone in zip(mixed, apart, strict=True):
        assert torch.allclose(together[: len(alone)], alone, atol=1e-4)
        assert together[len(alone) :].isneginf().all()
    with pytest.raises(ValueError, match="cannot be joined"):
        PromptedExamples.joined([parts[0].with_features(torch.zeros(7, 4))])


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_flops_of_joined_examples_are_those_counted_shape_by_shape(name: str, language_models: dict[str, str]) -> None:
    """The cost models hold for rows with different numbers of choices, and agree with plain counting."""

    def flops(examples: PromptedExamples, identity: str) -> int:
        backbone = backbone_of(language_models[name])
        IA3().attach(backbone)
        trainer = bare_harness(backbone.model, (name, identity), steps=5)
        trainer.train(backbone.trainable(), backbone.loss, examples)
        return trainer.cost.flops

    joined = PromptedExamples.joined(encoded(backbone_of(language_models[name])))
    by_model = flops(joined, "cost model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptedExamples, "laws", lambda *_, **__: ())
        assert by_model == flops(joined, "counted")
    assert by_model > 0


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_the_likelihood_of_right_answers_needs_no_others(name: str, language_models: dict[str, str]) -> None:
    backbone = backbone_of(language_models[name], unlikelihood=0.0, length_normalised=0.0)
    backbone.model.eval()
    joined = PromptedExamples.joined(encoded(backbone))
    alone = joined.right_answers()
    assert {len(choices) for choices in alone.choices} == {1}
    rows = list(range(21))
    with torch.no_grad():
        assert torch.allclose(backbone.loss(alone.batch(rows)), backbone.loss(joined.batch(rows)), rtol=1e-4)


def test_the_recipe_is_tfew_s() -> None:
    assert (
        Recipe(
            optimizer="adafactor",
            learning_rate=3e-4,
            weight_decay=0.0,
            warmup=0.06,
            schedule="linear",
            clip_norm=1.0,
            batch_size=16,
            steps=100_000,
            unlikelihood_weight=0.0,
            length_normalised_weight=0.0,
        )
        == RECIPE
    )
    assert CONFIG.max_length == 256


def request(folder: str, method: Method, **recipe: Any) -> Pretraining:
    return Pretraining(method, folder, mixture(), replace(RECIPE, steps=4, batch_size=4, learning_rate=0.1, **recipe))


@pytest.mark.parametrize("method", [IA3(), Houlsby(bottleneck=4), Full()], ids=lambda method: method.name)
def test_the_file_has_the_trained_tensors_and_metadata(
    method: Method, language_models: dict[str, str], tmp_path: Path
) -> None:
    folder, path, reports = language_models["t5"], tmp_path / "new" / "start.safetensors", []
    start = pretrain(
        request(folder, method), path, lambda *step: reports.append(step), lambda status: reports.append(status)
    )
    fresh: Any = loaded(folder).fresh_copy(toy_task(), 0)
    method.attach(fresh)
    saved = tensors(str(path))
    assert saved.keys() == fresh.trainable().keys()
    assert (start.tensors, start.params) == (len(saved), sum(value.numel() for value in saved.values()))
    assert any(not torch.equal(value, fresh.trainable()[name]) for name, value in saved.items())
    assert (start.steps, start.prompts, start.truncated) == (4, 16, 0)
    assert start.flops > 0 < start.seconds
    assert start.loss is not None
    metadata = header(str(path)).metadata
    assert (metadata["method"], metadata["backbone"]) == (header(str(path)).made_for.split(" on ")[0], folder)
    assert metadata["backbone_fingerprint"] == fingerprint(folder)
    first, second = json.loads(metadata["mixture"])
    assert first == {
        "task": "toy",
        "fingerprint": mixture()[0].task.fingerprint,
        "templates": {template.name: template.fingerprint for template in mixture()[0].templates},
    }
    assert (second["task"], list(second["templates"])) == ("three", ["plain"])
    assert json.loads(metadata["recipe"])["optimizer"] == "adafactor"
    assert json.loads(metadata["settings"])["max_length"] == 256
    assert json.loads(metadata["train_flops"]) == start.flops
    assert json.loads(metadata["final_train_loss"]) == pytest.approx(start.loss)
    assert set(metadata) >= {"versions", "git_commit", "created_at", "cap", "seed", "prompts", "train_seconds"}
    assert [step for step in reports if isinstance(step, tuple)] == [("train", done, 4) for done in (1, 2, 3, 4)]
    assert reports[0] == f"loading {folder}"
    assert list(path.parent.iterdir()) == [path]


def test_tensors_depend_only_on_the_seed(language_models: dict[str, str], tmp_path: Path) -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        pretrain(replace(request(language_models["t5"], IA3()), seed=seed), tmp_path / f"{seed}")
        return tensors(str(tmp_path / f"{seed}"))

    first, again, other = trained(3), trained(3), trained(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_it_learns_the_mixture(language_models: dict[str, str], tmp_path: Path) -> None:
    longer = replace(request(language_models["t5"], Full()), recipe=replace(RECIPE, steps=100, learning_rate=0.02))
    losses: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        steps = Instruments.steps

        def recorded(*arguments: Any) -> Any:
            for done, batch, loss in steps(*arguments):
                losses.append(loss)
                yield done, batch, loss

        patch.setattr(Instruments, "steps", recorded)
        pretrain(longer, tmp_path / "start")
    assert sum(losses[-6:]) < 0.2 * sum(losses[:6])  # measured: a thirtieth, and a sixtieth with other weights


def test_pretraining_can_start_from_a_file(language_models: dict[str, str], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    pretrain(request(language_models["t5"], IA3()), first)
    slow = request(language_models["t5"], IA3(start=str(first)))
    pretrain(replace(slow, recipe=replace(slow.recipe, learning_rate=1e-9)), second)
    before, after = tensors(str(first)), tensors(str(second))
    assert all(torch.allclose(before[name], after[name], atol=1e-5) for name in before)
    assert not all(torch.allclose(value, torch.ones_like(value), atol=1e-5) for value in after.values())


@pytest.mark.parametrize(
    ("method", "backbone", "facts"),
    [
        (Features(), "t5", "features trains a head"),
        (ICL(), "t5", "icl.* has no trainable parameters"),
        (BitFit(), "t5", "cannot be pretrained on .*no layer of the backbone has a bias"),
    ],
)
def test_methods_that_cannot_be_pretrained_are_an_error(
    method: Method, backbone: str, facts: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=facts):
        pretrain(request(language_models[backbone], method), tmp_path / "start")
    assert not list(tmp_path.iterdir())


def test_a_mixture_without_rows_is_an_error(language_models: dict[str, str], tmp_path: Path) -> None:
    none = (MixtureTask(toy_task(), (Wording("none", skips=1),)),)
    with pytest.raises(UserError, match="no template of the mixture applies to any row"):
        pretrain(replace(request(language_models["t5"], IA3()), mixture=none), tmp_path / "start")


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), NotFinite("the loss is nan")], ids=["ctrl-c", "nan"])
def test_an_early_end_writes_nothing_and_keeps_an_existing_file(
    raised: BaseException, language_models: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "start"
    path.write_text("earlier")

    def report(phase: str, done: int, total: int) -> None:
        if done == 2:
            raise raised

    with pytest.raises(type(raised)):
        pretrain(request(language_models["t5"], IA3()), path, report)
    assert [(file, file.read_text()) for file in tmp_path.iterdir()] == [(path, "earlier")]
