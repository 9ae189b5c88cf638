"""Complete cells learn: T-Few's recipe and in-context learning reach scores above chance on tiny models."""

from __future__ import annotations

import json

import pytest

from tests.bench.execution.episodes import pretrained_on_episodes
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.records import Record
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides

TEMPLATES = """
dataset: meaning
templates:
  1: !Template
    answer_choices: yes ||| no
    jinja: "{{text}} ||| {{ answer_choices[label] }}"
    metadata: !TemplateMetadata
      original_task: true
    name: bare
"""
MEANINGS = (("awful", "good"), ("good", "awful"))
"""The words for yes and no. The same answers in both tasks give a mean score of exactly 0.5."""
STEPS = 40
RATES = {"ia3": 0.05, "houlsby:bottleneck=8": 0.03, "full": 3e-3}
"""Ten times those of the suite, for a twentieth of its steps."""


@pytest.fixture(scope="module", params=["llama", "t5"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Trained for seconds on prompts where two words mean yes and no; the demonstrations show which is which."""
    folder = tmp_path_factory.mktemp("learning") / request.param
    steps, batch = {"llama": (220, 32), "t5": (175, 64)}[request.param]
    return str(pretrained_on_episodes(folder, request.param, steps, batch, seed=2))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A task for each meaning."""
    made = []
    for words in MEANINGS:
        folder = tmp_path_factory.mktemp("meaning")
        for split, count in (("train", 40), ("test", 24)):
            rows = [{"text": words[place % 2], "label": place % 2, "idx": place} for place in range(count)]
            folder.joinpath(f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        meta = {"task_type": "classification", "label_names": ["yes", "no"], "label_field": "label"}
        meta |= {"input_fields": ["text"], "metrics": ["accuracy"]}
        folder.joinpath("meta.json").write_text(json.dumps(meta), "utf-8")
        folder.joinpath("templates.yaml").write_text(TEMPLATES, "utf-8")
        made.append(f"dir:{folder}")
    return made


def mean_accuracy(model: str, tasks: list[str], method: str, **settings: object) -> tuple[float, list[Record]]:
    """Over both meanings, 32 shots each, by the recipe of T-Few's suite."""
    overrides = Overrides(
        methods=[method],
        backbones=[model],
        tasks=tasks,
        shots=[32],
        draws=[0],
        seeds=[0],
        templates=[None],
        settings=settings,
    )
    records = [run_cell(cell)[0] for cell in expand("tfew2022", overrides).cells]
    assert [record.status for record in records] == ["ok"] * 2, [record.reason for record in records]
    return sum(record.score or 0.0 for record in records) / 2, records


@pytest.mark.parametrize("method", RATES)
def test_a_trained_method_learns_the_meaning_of_words(method: str, model: str, tasks: list[str]) -> None:
    accuracy, records = mean_accuracy(model, tasks, method, steps=STEPS, learning_rate=RATES[method])
    assert accuracy >= 0.8  # chance is 0.5
    for record in records:
        weights = ("likelihood_weight", "unlikelihood_weight", "length_normalised_weight")
        assert [record.recipe[name] for name in ("optimizer", "batch_size", *weights)] == ["adafactor", 8, 1, 1, 1]
        assert (record.training.steps, record.template) == (STEPS, "bare")


def test_demonstrations_give_the_meaning_of_words(model: str, tasks: list[str]) -> None:
    """No training: six demonstrations show which word is which; without them the score is exactly chance."""
    assert mean_accuracy(model, tasks, "icl:k=6,balanced=true")[0] >= 0.8
    assert mean_accuracy(model, tasks, "icl:k=0")[0] == 0.5
