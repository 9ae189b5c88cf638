"""Comparing a run with its paper: one sentence per difference, and none otherwise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from tunefront.bench.cells import Cell
from tunefront.bench.data.sources import load_task
from tunefront.bench.models.config import config_at
from tunefront.bench.papers.conformance import settings, toys
from tunefront.bench.papers.conformance.check import Comparison, compare
from tunefront.bench.papers.conformance.practice import Inserted, Line, Practice, practice_of
from tunefront.bench.settings import RunConfig
from tunefront.bench.suites.sweeps import method_of
from tunefront.methods.base import Method, Recipe

METHOD = "houlsby:bottleneck=8,std=0.02"
RECIPE = Recipe(steps=10, batch_size=8, learning_rate=1e-3)
DROPOUTS = r".*\.output\.dropout"
OUR_STEP = (  # of our Adam at the first step: a rate for each weight, and the decay
    {"weights": [[0.2, -0.1]], "gradient": [[0.3, -0.1]], "moved": [[-1.002, 1.001]]},
)


def inserted(**down: Any) -> tuple[Inserted, ...]:
    return (
        Inserted(DROPOUTS, "adapter.down.weight", **down),
        Inserted(DROPOUTS, "adapter.up.weight", truncated=0.02),
        Inserted(DROPOUTS, "adapter.down.bias", values=(0.0,)),
        Inserted(DROPOUTS, "adapter.up.bias", values=(0.0,)),
    )


LINE = Line(
    name="adapters",
    method=method_of(METHOD),
    recipe={"learning_rate": (1e-3, 3e-3)},
    counts={"bert-base": 1000},
    trained=(r".*LayerNorm\.(weight|bias)",),
    inserted=inserted(truncated=0.02),
)
PRACTICE = Practice(
    title="a paper that does what we do",
    backbones=("bert-base",),
    toy={"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 9},
    lines=(LINE,),
    recipe={"optimizer": ("adamw",), "steps": (10,), "weight_decay": (0.01,), "dropout": (None,)},
    settings={"max_length": (64,)},
    tasks={"toy": {"shots": 32, "scored split": "test"}},
    habits={"order of rows": "shuffled", "rate of the first step": "above 0", "training seed": "the draw's"},
    losses={"logits": [[1.0, -0.5, 0.2], [0.3, 0.1, -1.0]], "labels": [0, 2], "cross_entropy": 1.276032},
    step=OUR_STEP,
)


@pytest.fixture
def cell(backbones: dict[str, str], toy_folder: str, monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A cell that does as PRACTICE says, whose backbone has the size of its backbone."""
    config = config_at(backbones["bert"])
    monkeypatch.setattr(settings, "config_of", lambda _: config)
    return Cell(method_of(METHOD), backbones["bert"], toy_folder, RECIPE, shots=32, config=RunConfig(max_length=64))


def differences_of(
    cell: Cell, count: Callable[[Method, str], int] = lambda *_: 1000, **changes: Any
) -> tuple[str, ...]:
    """The differences from PRACTICE with some of its fields changed; `line` has fields of its line."""
    line = replace(LINE, **changes.pop("line", {}))
    practice = replace(PRACTICE, lines=(line,), **changes)
    return Comparison(practice, count).differences(cell, load_task(cell.task))


def test_a_run_that_does_as_the_paper_has_no_difference(cell: Cell) -> None:
    assert differences_of(cell) == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learning_rate": 1e-2}, "learning_rate is 0.01, not 0.001 or 0.003"),
        ({"steps": 2000}, "steps is 2,000, not 10"),
        ({"dropout": 0.0}, "dropout is 0, not none"),
    ],
)
def test_a_recipe_that_differs_is_reported_field_by_field(
    cell: Cell, changes: Mapping[str, Any], sentence: str
) -> None:
    assert differences_of(replace(cell, recipe=replace(RECIPE, **changes))) == (sentence,)


def test_settings_shots_splits_and_seeds_that_differ_are_reported(cell: Cell) -> None:
    changed = replace(cell, shots=None, seed=1, config=RunConfig(max_length=None))
    assert differences_of(changed) == (
        "max_length is none, not 64",
        "shots is all, not 32",
        "order of rows is by length within shuffled parts, not shuffled",
        "training seed is one for all draws, not the draw's",
    )
    assert differences_of(cell, tasks={"toy": {"shots": 32, "scored split": "validation"}}) == (
        "scored split is test, not validation",
    )
    assert differences_of(cell, tasks={"rte": {}}) == ("task is not in the paper",)


@pytest.mark.parametrize(
    ("habits", "sentence"),
    [
        ({"rate of the first step": "0"}, "rate of the first step is above 0, not 0"),
        ({"incomplete last batch": "dropped"}, None),  # 32 rows in batches of 8: there is none
        ({"template": "drawn for every row"}, None),  # an encoder has none
        ({"loss": "of choices"}, "loss is of a head, not of choices"),
    ],
)
def test_habits_count_where_a_cell_has_them(cell: Cell, habits: dict[str, str], sentence: str | None) -> None:
    assert differences_of(cell, habits=habits) == ((sentence,) if sentence else ())
    short = replace(cell, shots=30)
    assert any("last batch" in text for text in differences_of(short, habits=habits)) is (
        "incomplete last batch" in habits
    )


def test_a_language_model_has_one_template_and_cut_at_the_start(cell: Cell, language_models: dict[str, str]) -> None:
    habits = {"template": "drawn for every row", "truncated part of a long prompt": "its end"}
    sentences = differences_of(replace(cell, backbone=language_models["llama"]), habits=habits)
    assert "template is the same for every row, not drawn for every row" in sentences
    assert "truncated part of a long prompt is its start, not its end" in sentences
    assert "backbone is " in sentences[0]


def test_a_method_of_other_fields_is_reported_with_all_that_follows(cell: Cell) -> None:
    sentences = differences_of(replace(cell, method=method_of("houlsby:bottleneck=8,std=0.05")))
    assert sentences[0] == "std is 0.05, not 0.02"
    starts = [text for text in sentences if text.startswith("start of adapter.")]
    assert [text.split(" is ")[0] for text in starts] == ["start of adapter.down.weight", "start of adapter.up.weight"]
    assert all(text.endswith("not normal, deviation 0.02, cut at two of them") for text in starts)
    assert len(sentences) == 3


def test_a_method_that_the_paper_lacks_is_reported(cell: Cell) -> None:
    assert differences_of(replace(cell, method=method_of("ia3"))) == ("method is not in the paper",)


def test_another_backbone_is_reported(cell: Cell, backbones: dict[str, str]) -> None:
    name = backbones["distilbert"]
    assert differences_of(replace(cell, backbone=name)) == (f"backbone is {name} (distilbert), not bert-base (bert)",)


def test_a_wrong_count_is_reported(cell: Cell) -> None:
    assert differences_of(cell, lambda *_: 999) == ("on bert-base it trains 999 parameters, not 1,000",)


def test_tensors_that_train_or_do_not_are_reported(cell: Cell) -> None:
    embeddings = r"embeddings\.word_embeddings\.weight"
    missing = differences_of(cell, line={"trained": (*LINE.trained, embeddings)})
    assert missing == ("it freezes embeddings.word_embeddings.weight, which the paper trains",)
    (more,) = differences_of(cell, line={"trained": (r"encoder.*LayerNorm\.(weight|bias)",)})
    assert more == "it trains 2 kinds of weight (embeddings.LayerNorm.bias first), which the paper freezes"
    (added,) = differences_of(cell, line={"inserted": LINE.inserted[:3]})
    kind = "encoder.layer.*.attention.output.dropout.adapter.up.bias"
    assert added == f"it adds 2 kinds of weight ({kind} first), which the paper does without"
    (lacking,) = differences_of(cell, line={"inserted": (*LINE.inserted, Inserted("", "gate"))})
    assert lacking == "it does without gate, which the paper adds"


@pytest.mark.parametrize(
    ("start", "theirs"),
    [
        ({"values": (0.0, 1.0)}, "every number 0 or 1"),
        ({"normal": 0.02}, "normal, deviation 0.02"),
        ({"truncated": 0.01}, "normal, deviation 0.01, cut at two of them"),
        ({"glorot": 1.0}, "Glorot's uniform numbers times 1"),
        ({"rows": "embeddings.word_embeddings.weight"}, "rows of embeddings.word_embeddings.weight"),
    ],
)
def test_another_start_is_reported(cell: Cell, start: dict[str, Any], theirs: str) -> None:
    (sentence,) = differences_of(cell, line={"inserted": inserted(**start)})
    assert sentence.startswith("start of adapter.down.weight is -0.04 to 0.04, deviation 0.018, not ")
    assert sentence.endswith(f", not {theirs}")


@pytest.mark.parametrize("seed", range(5))
def test_each_start_is_known_again(seed: int) -> None:
    torch.manual_seed(seed)
    table = torch.randn(50, 32)
    truncated = torch.nn.init.trunc_normal_(torch.empty(64, 32), std=0.1, a=-0.2, b=0.2)
    starts = {
        "values": (torch.ones(64, 32), (1.0,)),
        "normal": (torch.randn(64, 32) * 0.1, 0.1),
        "truncated": (truncated, 0.1),
        "glorot": (torch.nn.init.xavier_uniform_(torch.empty(64, 32), gain=2**0.5), 2**0.5),
        "rows": (table[torch.randint(50, (10,))], "table"),
    }
    for kind, other in itertools.product(starts, repeat=2):
        tensor, _ = starts[kind]
        line = replace(LINE, inserted=(Inserted("", "new", **{other: starts[other][1]}),))
        attached = toys.Attached(("",), {"table": table}, (), {"new": tensor})
        assert list(toys.of_values(line, attached)) == [] or kind != other, (kind, seed)
        assert kind == other or list(toys.of_values(line, attached)), (kind, other)


def test_a_loss_that_differs_is_reported(cell: Cell) -> None:
    losses = {**PRACTICE.losses, "cross_entropy": 1.5}
    assert differences_of(cell, losses=losses) == ("loss of a fixed batch is 1.27603, not 1.5",)


def test_the_losses_of_language_models_are_reported_with_their_gradients(cell: Cell) -> None:
    ours = {**practice_of("tfew2022").losses, "unlikelihood": 0.3467586}
    assert differences_of(cell, losses=ours) == ()
    assert differences_of(cell, losses={**ours, "likelihood": 0.6}) == (
        "likelihood loss of a fixed batch is 0.58, not 0.6, with the same gradient",
    )
    gradient = [[[-0.2, -0.2, -0.2], [0.1, 0.0]], [[0.0], [-0.2, -0.2]]]
    assert differences_of(cell, losses={**ours, "likelihood_gradient": gradient}) == (
        "likelihood loss of a fixed batch is 0.58, not 0.58, with another gradient",
    )
    changed = replace(cell, config=RunConfig(max_length=64, normalization="none"))
    assert differences_of(changed, losses=ours) == ("scores of a fixed row is -1.7, -2.7, not -0.5667, -1.35",)


def test_a_step_of_the_optimiser_that_differs_is_reported(cell: Cell) -> None:
    step = ({**OUR_STEP[0], "moved": [[-3.0, 3.0]]},)
    assert differences_of(cell, step=step) == (
        "first optimiser step on fixed weights is 1.42, not 4.24 times the rate",
    )


def test_a_method_that_cannot_run_on_a_toy_is_reported_as_not_compared(cell: Cell) -> None:
    line = Line("top layers", method_of("top_layers:n=3"), trained=(".*",))
    practice = replace(PRACTICE, lines=(line,))
    (sentence,) = Comparison(practice).differences(replace(cell, method=line.method), load_task(cell.task))
    assert sentence == (
        "trained tensors and initial values are not compared: it cannot run on a toy "
        "(top_layers:n=3 needs 3 blocks; the backbone has 2)"
    )


def test_a_method_that_cannot_be_attached_to_the_papers_backbone_is_reported(cell: Cell) -> None:
    line = Line("in context", method_of("icl:k=0"), counts={"bert-base": 0}, trains=False)
    practice = replace(PRACTICE, lines=(line,))
    (sentence,) = Comparison(practice).differences(replace(cell, method=line.method), load_task(cell.task))
    assert sentence.startswith("it cannot run on bert-base, where 0 parameters train: in-context learning needs")


def test_comparing_leaves_random_numbers_alone(cell: Cell) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    differences_of(cell)
    assert torch.equal(torch.rand(3), expected)


def test_cells_of_a_suite_without_a_paper_stay_as_they_are(cell: Cell) -> None:
    (same, compared) = compare([cell, replace(cell, paper="houlsby2019")])
    assert same.deviations is None
    assert compared.deviations is not None
    assert "first optimiser step on fixed weights is 2.83, not 8.95 times the rate" in compared.deviations


def test_a_method_that_goes_wrong_on_a_toy_stops_no_run(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    def goes_wrong(*_: object) -> None:
        raise RuntimeError("it went wrong")

    monkeypatch.setattr(toys, "attach_to_toy", goes_wrong)
    (sentence,) = differences_of(cell)
    assert sentence == (
        "trained tensors and initial values are not compared: it cannot run on a toy (RuntimeError: it went wrong)"
    )
