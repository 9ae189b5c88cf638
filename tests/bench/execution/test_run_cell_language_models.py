"""Complete cells of language models: their records, templates and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import make_toy
from tunefront.bench.cells import Cell
from tunefront.bench.cli.main import app
from tunefront.bench.data.sources import load_task
from tunefront.bench.errors import UserError
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.records import Prompt, Record
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.templates import find_template
from tunefront.methods.spelling import parse

TEMPLATES = """
dataset: toy
templates:
  1: !Template
    answer_choices: yes ||| no
    jinja: "Review: {{text}}\\nQuestion: Is it positive ? Answer: ||| {{ answer_choices[label] }}"
    metadata: !TemplateMetadata
      original_task: true
    name: question
  2: !Template
    answer_choices: positive ||| negative
    jinja: "{{text}} What sentiment does it express? ||| {{ answer_choices[label] }}"
    metadata: !TemplateMetadata
      original_task: true
    name: sentiment
  3: !Template
    answer_choices: one ||| two
    jinja: "{{text}} Which one? ||| {{ answer_choices[label] }}"
    metadata: !TemplateMetadata
      original_task: false
    name: another
"""


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    path = folder / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy task with templates and two published draws of six rows."""
    made = make_toy(tmp_path_factory.mktemp("cells") / "toy", rows=(20, 4, 12))
    made.joinpath("templates.yaml").write_text(TEMPLATES, encoding="utf-8")
    rows = [json.loads(line) for line in made.joinpath("train.jsonl").read_text("utf-8").splitlines()]
    write(made, "few_shot/6_shot/0", rows[10:16])
    write(made, "few_shot/6_shot/7", rows[2:8])
    return made


@pytest.fixture(scope="module")
def choices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multiple choice task whose labels name fields."""
    made = tmp_path_factory.mktemp("cells") / "choices"
    rows = [
        {"question": f"Is it the film {place}", "one": f"very good {place}", "two": "bad", "label": place % 2}
        for place in range(10)
    ]
    for split in ("train", "test"):
        write(made, split, [{**row, "idx": place} for place, row in enumerate(rows)])
    meta = {"task_type": "multiple choice", "label_names": ["one", "two"], "label_field": "label"}
    meta |= {"input_fields": ["question", "one", "two"], "metrics": ["accuracy"]}
    made.joinpath("meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regression task."""
    made = tmp_path_factory.mktemp("cells") / "values"
    for split in ("train", "test"):
        write(made, split, [{"text": f"a film {place}", "label": place / 2, "idx": place} for place in range(10)])
    meta = {"task_type": "regression", "label_names": [], "label_field": "label"}
    meta |= {"input_fields": ["text"], "metrics": ["spearman"]}
    made.joinpath("meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return made


def cell(backbone: str, folder: Path, spelled: str, template: str | None = "plain", **fields: Any) -> Cell:
    """A cell of two training steps."""
    config = RunConfig(**{name: fields.pop(name) for name in list(fields) if hasattr(RunConfig, name)})
    method = parse(spelled)
    recipe = resolve_recipe(method, {"steps": 2, "batch_size": 4})
    return Cell(method, backbone, f"dir:{folder}", recipe, template=template, config=config, **fields)


def ran(*arguments: Any, **fields: Any) -> tuple[Record, pd.DataFrame]:
    """The record and predictions of a cell that is ok."""
    record, predictions = run_cell(cell(*arguments, **fields))
    assert record.status == "ok", record.reason
    assert predictions is not None
    return record, predictions


@pytest.mark.parametrize(
    ("name", "values_each"),
    [("gpt2", 2 * 2 * 2 * 16), ("qwen2", 2 * 2 * 1 * 16), ("opt", 2 * 2 * 2 * 16)],
)
def test_a_record_has_what_demonstrations_take(
    name: str, values_each: int, language_models: dict[str, str], folder: Path
) -> None:
    """Keys and values: 2 x layers x kv heads x head width numbers per token, four bytes each."""
    record, _ = ran(language_models[name], folder, "icl:k=4,order=1", shots=8)
    task = load_task(f"dir:{folder}")
    rows = {row.id: row for row in task.splits["train"]}
    assert record.data.train_ids is not None
    assert record.prompt.demonstration_ids is not None
    (ids,) = record.prompt.demonstration_ids
    assert set(ids) == set(record.data.train_ids[:4])
    assert ids != record.data.train_ids[:4]
    template = find_template(task, "plain")
    prompts = [template.render(task, rows[row]) for row in ids]
    text = "\n\n".join(f"{prompt.text} {prompt.choices[prompt.label]}" for prompt in prompts)
    assert record.storage.demonstration_bytes == len(text.encode())
    assert record.prompt.prefix_tokens is not None
    assert record.prompt.kv_cache_bytes == values_each * record.prompt.prefix_tokens * 4
    from transformers import AutoTokenizer

    assert record.prompt.prefix_tokens == len(AutoTokenizer.from_pretrained(language_models[name])(text)["input_ids"])
    assert record.flops.prefix is not None
    assert record.flops.prefix > 0
    assert record.seconds.prefix is not None
    assert record.seconds.prefix > 0
    assert record.cpu_seconds.prefix is not None
    assert record.cpu_seconds.prefix > 0
    assert (record.storage.checkpoint_bytes, record.parameters.trainable, record.parameters.inserted) == (0, 0, 0)
    assert (record.flops.train, record.training.steps, record.seconds.train, record.training.final_loss) == (
        0,
        0,
        0.0,
        None,
    )
    assert (record.prompt.shortened_test, record.prompt.demonstrations_per_row) == (0, 4.0)
    assert record.flops.inference_per_example is not None
    without = record.flops.inference_per_example + record.flops.prefix
    assert record.flops.inference_per_example_without_reuse == pytest.approx(without)
    assert record.task_bytes == record.storage.demonstration_bytes
    assert (record.parameters.head, record.parameters.total) == (0, record.parameters.backbone)


def test_an_ensemble_keeps_every_prompt(language_models: dict[str, str], folder: Path) -> None:
    one, _ = ran(language_models["gpt2"], folder, "icl:k=3", shots=8)
    three, _ = ran(language_models["gpt2"], folder, "icl:k=3,ensemble=3", shots=8)
    assert one.prompt.demonstration_ids is not None
    assert three.prompt.demonstration_ids is not None
    assert len(three.prompt.demonstration_ids) == 3
    assert three.prompt.demonstration_ids[0] == one.prompt.demonstration_ids[0]
    for name in ("prefix_tokens", "kv_cache_bytes"):
        assert getattr(three.prompt, name) == pytest.approx(3 * getattr(one.prompt, name), rel=0.05)
    assert three.prompt.demonstrations_per_row == 3.0


def test_an_encoder_decoder_keeps_nothing_of_its_demonstrations(language_models: dict[str, str], folder: Path) -> None:
    record, _ = ran(language_models["t5"], folder, "icl:k=4", shots=8)
    assert (record.prompt.kv_cache_bytes, record.flops.prefix, record.seconds.prefix) == (None, None, None)
    assert record.cpu_seconds.prefix is None
    assert record.prompt.prefix_tokens is not None
    assert record.storage.demonstration_bytes is not None
    assert record.flops.inference_per_example_without_reuse == record.flops.inference_per_example


def test_zero_shot_has_no_demonstrations_and_needs_no_rows(language_models: dict[str, str], folder: Path) -> None:
    for shots in (8, 0):
        record, _ = ran(language_models["gpt2"], folder, "icl:k=0", shots=shots)
        assert record.prompt == Prompt()
        assert (record.storage.demonstration_bytes, record.flops.prefix) == (None, None)
        assert record.data.n_train == shots
        assert record.collapse.baseline_answer == "good", "of the train split, with or without rows of it"
        assert record.scores.baseline is not None
        assert record.scores.baseline["accuracy"] == record.collapse.baseline_share
    assert record.data.train_ids == ()


def test_calibrating_costs_what_its_prompts_cost(language_models: dict[str, str], folder: Path) -> None:
    record, _ = ran(language_models["gpt2"], folder, "icl:k=0,calibrate=true")
    assert record.flops.calibration == record.flops.prefix
    assert record.prompt.demonstration_ids is None
    assert record.flops.prefix is not None
    assert record.flops.prefix > 0


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_the_template_is_in_the_record_by_name_and_fingerprint(
    name: str, language_models: dict[str, str], folder: Path
) -> None:
    task, keys = load_task(f"dir:{folder}"), set()
    for template in ("plain", "question", "another"):
        record, _ = ran(language_models[name], folder, "full", template)
        assert record.template == template
        assert record.fingerprints["template"] == find_template(task, template).fingerprint
        keys.add(record.key)
    assert len(keys) == 3


def test_published_draws_are_the_files_rows_in_order(language_models: dict[str, str], folder: Path) -> None:
    for seed, first in ((0, 10), (7, 2)):
        record, _ = ran(
            language_models["gpt2"], folder, "icl", shots=6, draw_seed=seed, published_draws=True, template="question"
        )
        assert record.data.draw_source == "few_shot/6_shot"
        expected = [str(row) for row in range(first, first + 6)]
        assert list(record.data.train_ids or ()) == expected
        assert list(record.prompt.demonstration_ids or ()) == [tuple(expected)]
    drawn, _ = ran(language_models["gpt2"], folder, "icl", shots=6)
    assert drawn.data.draw_source is None
    assert drawn.data.train_ids != record.data.train_ids


@pytest.mark.parametrize("spelled", ["full", "icl:k=4", "features"])
@pytest.mark.parametrize("name", ["gpt2", "t5", "bart"])
def test_the_evaluations_batch_size_changes_no_score(
    name: str, spelled: str, language_models: dict[str, str], folder: Path
) -> None:
    scores = {}
    for size in (1, 16):
        _, predictions = ran(language_models[name], folder, spelled, eval_batch_size=size, normalization="none")
        scores[size] = torch.tensor(predictions[["score_0", "score_1"]].to_numpy())
    assert torch.allclose(scores[1], scores[16], rtol=1e-4, atol=1e-4)


def test_the_order_of_the_rows_changes_no_score(language_models: dict[str, str], folder: Path, tmp_path: Path) -> None:
    lines = folder.joinpath("test.jsonl").read_text("utf-8").splitlines()
    backwards = tmp_path / "backwards"
    backwards.mkdir()
    for file in ("train.jsonl", "meta.json"):
        backwards.joinpath(file).write_text(folder.joinpath(file).read_text("utf-8"), encoding="utf-8")
    backwards.joinpath("test.jsonl").write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")
    tables = []
    for place in (folder, backwards):
        _, predictions = ran(language_models["gpt2"], place, "icl:k=4", shots=8, eval_batch_size=5)
        tables.append(predictions.set_index("id").sort_index())
    pd.testing.assert_frame_equal(*tables, check_exact=False, atol=1e-5)


def test_choices_that_a_row_lacks_are_missing_in_its_predictions(
    language_models: dict[str, str], choices: Path
) -> None:
    record, predictions = ran(language_models["t5"], choices, "ia3")
    assert record.data.task_kind == "multiple choice"
    assert list(predictions.columns) == ["id", "label", "prediction", "score_0", "score_1"]


SKIPPED = {
    ("bert", "icl:k=0", "folder"): "an encoder has no prompt to put rows into",
    ("bert", "full", "choices"): "is multiple choice, which needs a language model",
    ("gpt2", "full", "values"): "is regression; a language model scores choices",
    ("t5", "icl", "values"): "is regression; a language model scores choices",
    ("gpt2", "features", "choices"): "features cannot distinguish choices",
    ("gpt2", "icl:k=0,calibrate=true", "choices"): "is multiple choice: its choices are ",
}


@pytest.mark.parametrize(("name", "spelled", "task"), SKIPPED)
def test_what_does_not_go_together_is_skipped_with_its_reason(
    name: str, spelled: str, task: str, folders: dict[str, str], request: pytest.FixtureRequest
) -> None:
    no_template = name == "bert" or task == "values"
    place = request.getfixturevalue(task)
    record, predictions = run_cell(cell(folders[name], place, spelled, None if no_template else "plain"))
    assert predictions is None
    assert record.status == "skipped"
    assert SKIPPED[name, spelled, task] in (record.reason or "")


def test_a_method_that_needs_more_rows_than_there_are_is_skipped_with_its_reason(
    language_models: dict[str, str], folder: Path
) -> None:
    record, _ = run_cell(cell(language_models["gpt2"], folder, "icl:k=5", shots=4))
    assert (record.status, record.reason) == ("skipped", "icl:k=5 needs 5 training rows; there are 4 here")


def planned(folder: Path, *backbones: str, methods: tuple[str, ...] = ("full",), **fields: Any) -> list[Cell]:
    """The cells of a call."""
    overrides = Overrides(methods=methods, backbones=backbones, tasks=[f"dir:{folder}"], seeds=[0], **fields)
    return list(expand("embedded", overrides).cells)


def test_a_grid_of_both_kinds_gives_templates_to_language_models_alone(folders: dict[str, str], folder: Path) -> None:
    cells = planned(folder, folders["bert"], folders["gpt2"], folders["t5"], templates=["question"])
    assert [(cell.backbone, cell.template) for cell in cells] == [
        (folders["bert"], None),
        (folders["gpt2"], "question"),
        (folders["t5"], "question"),
    ]


def test_templates_are_the_first_one_those_named_or_all_of_the_original_task(
    folders: dict[str, str], folder: Path, choices: Path
) -> None:
    def names(place: Path, templates: list[str] | None) -> list[str | None]:
        return [cell.template for cell in planned(place, folders["gpt2"], templates=templates)]

    assert names(folder, None) == ["question"]
    assert names(folder, ["all"]) == ["question", "sentiment"]
    assert names(folder, ["plain", "another"]) == ["plain", "another"]
    assert names(folder, ["all", "plain", "question"]) == ["question", "sentiment", "plain"]
    assert names(choices, None) == names(choices, ["all"]) == ["plain"]


def test_an_unknown_template_is_a_mistake_that_names_the_nearest(folders: dict[str, str], folder: Path) -> None:
    with pytest.raises(UserError, match="no template 'sentimant'; did you mean 'sentiment'") as caught:
        planned(folder, folders["gpt2"], templates=["sentimant"])
    assert "Known: another, plain, question, sentiment" in str(caught.value)
    with pytest.raises(
        UserError, match=r"template 'question' was requested, but .* is an encoder, which takes no template"
    ):
        planned(folder, folders["bert"], templates=["question"])


def test_regression_among_other_tasks_takes_no_template(folders: dict[str, str], values: Path) -> None:
    assert [cell.template for cell in planned(values, folders["gpt2"], folders["bert"], templates=["all"])] == [
        None
    ] * 2


@pytest.mark.parametrize(
    ("method", "fields", "said"),
    [
        ("icl:k=30", {}, r"icl:k=30 needs 30 training rows, but 20 of .* are drawn"),
        ("icl:k=9", {"shots": [8]}, r"icl:k=9 needs 9 training rows, but 8 of .* are drawn"),
        ("icl", {"shots": [0]}, r"shots .*got 0"),
        ("icl:k=7", {"shots": [6], "settings": {"published_draws": True}}, r"icl:k=7 needs 7 .*, but 6 of"),
        (
            "icl:k=2",
            {"shots": [5], "settings": {"published_draws": True}},
            r"no published draw of 5 rows; .*: 6\.",
        ),
    ],
)
def test_more_demonstrations_than_rows_are_a_mistake_before_anything_runs(
    method: str, fields: dict[str, Any], said: str, folders: dict[str, str], folder: Path
) -> None:
    with pytest.raises(UserError, match=said):
        planned(folder, folders["gpt2"], methods=(method,), **fields)


def test_rows_held_out_for_a_search_are_no_demonstrations(folders: dict[str, str], tmp_path: Path) -> None:
    """Of 64 drawn rows, 32 are held out if a task has no validation split."""
    place = make_toy(tmp_path / "toy", rows=(64, 1, 8))
    place.joinpath("validation.jsonl").unlink()
    fields: dict[str, Any] = {"shots": [64], "settings": {"select": True}}
    assert planned(place, folders["gpt2"], methods=("icl:k=32",), **fields)
    with pytest.raises(UserError, match="icl:k=40 needs 40 training rows, but 32 of"):
        planned(place, folders["gpt2"], methods=("icl:k=40",), **fields)


def test_the_command_exits_with_2_where_k_is_larger_than_the_draw(
    folders: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    arguments = ["run", "--method", "icl:k=9", "--backbone", folders["gpt2"], "--task", f"dir:{folder}", "--shots", "8"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "results")])
    assert result.exit_code == 2
    assert "icl:k=9 needs 9 training rows, but 8 of" in " ".join(result.stderr.split())
    assert not list(tmp_path.joinpath("results").glob("records/*"))
