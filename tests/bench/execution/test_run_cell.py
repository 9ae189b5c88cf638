"""Cases in which a language model's numbers could be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import make_toy
from tests.toys import attach, encode, fresh_copy, harness, toy_task
from tunefront.bench.cells import Cell
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.models.tiny import make_language_model
from tunefront.bench.records import Record
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.bench.templates import find_template
from tunefront.methods.icl import ICL
from tunefront.methods.spelling import parse

REVERSIBLE = """
dataset: toy
templates:
  1: !Template
    answer_choices: "{{{{one}}}} ||| {{{{two}}}}"
    jinja: "{{{{question}}}} Answer: ||| {{{{ [one, two][label] }}}}"
    metadata: !TemplateMetadata
      original_task: true
    name: straight
  2: !Template
    answer_choices: "{{{{two}}}} ||| {{{{one}}}}"
    jinja: "{{{{question}}}} Answer: ||| {{{{ [one, two][label] }}}}"
    metadata: !TemplateMetadata
      original_task: true
    name: reversed
""".replace("{{{{", "{{").replace("}}}}", "}}")


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def ran(method: str, backbone: str, folder: Path, **fields: Any) -> Record:
    chosen = parse(method)
    config = RunConfig(**fields.pop("config", {}))
    template = fields.pop("template", "plain")
    cell = Cell(chosen, backbone, f"dir:{folder}", resolve_recipe(chosen), template=template, config=config, **fields)
    return run_cell(cell)[0]


def test_the_order_of_a_templates_answers_changes_no_accuracy(tmp_path: Path, language_models: dict[str, str]) -> None:
    words = ("film", "book", "good film", "bad book", "fine", "a very good book")
    rows = [
        {"idx": n, "question": f"Is it {n}", "one": words[n % 6], "two": words[(n + 1 + n % 4) % 6], "label": n % 2}
        for n in range(40)
    ]
    for split in ("train", "test"):
        lines(tmp_path / f"{split}.jsonl", rows)
    meta = {"task_type": "multiple choice", "label_names": ["one", "two"], "input_fields": ["question", "one", "two"]}
    tmp_path.joinpath("meta.json").write_text(json.dumps(meta), encoding="utf-8")
    tmp_path.joinpath("templates.yaml").write_text(REVERSIBLE, encoding="utf-8")
    straight, other = (
        ran("icl:k=0", language_models["llama"], tmp_path, template=name) for name in ("straight", "reversed")
    )
    assert straight.scores.test == other.scores.test
    assert 0.1 < straight.scores.test["accuracy"] < 0.9, "else any order would do"


def test_another_published_draw_is_another_record(tmp_path: Path, language_models: dict[str, str]) -> None:
    folder = make_toy(tmp_path / "toy", rows=(20, 4, 12))
    rows = [json.loads(line) for line in folder.joinpath("train.jsonl").read_text("utf-8").splitlines()]
    method, config = parse("icl"), RunConfig(published_draws=True)
    cell = Cell(
        method, language_models["gpt2"], f"dir:{folder}", resolve_recipe(method), 4, template="plain", config=config
    )
    keys = set()
    for start in (0, 8, 0):
        lines(folder / "few_shot/4_shot/0.jsonl", rows[start : start + 4])
        keys.add(Identity.of(cell).key)
    assert len(keys) == 2


def test_an_unbalanced_task_gives_its_labels_in_turn(tmp_path: Path, language_models: dict[str, str]) -> None:
    folder = make_toy(tmp_path / "toy", rows=(40, 4, 8))
    rows = [json.loads(line) for line in folder.joinpath("train.jsonl").read_text("utf-8").splitlines()]
    lines(folder / "train.jsonl", [row for row in rows if row["label"] == 0 or row["idx"] < 8])
    labels = {row["idx"]: row["label"] for row in rows}
    drawn = {
        shots: ran("icl", language_models["gpt2"], folder, shots=shots, config={"balanced_draws": True}).data.train_ids
        for shots in (2, 6)
    }
    assert sorted(labels[int(row)] for row in drawn[6]) == [0, 0, 0, 1, 1, 1]
    assert drawn[6][:2] == drawn[2]


def test_demonstrations_are_stored_once_whatever_the_orders(tmp_path: Path, language_models: dict[str, str]) -> None:
    folder = make_toy(tmp_path / "toy", rows=(20, 4, 8))
    one, eight = (
        ran(f"icl:k=3{more}", language_models["gpt2"], folder, shots=3, config={"max_length": 40})
        for more in ("", ",ensemble=8")
    )
    assert one.storage.demonstration_bytes == eight.storage.demonstration_bytes > 0
    assert eight.prompt.kv_cache_bytes == 8 * one.prompt.kv_cache_bytes
    assert (one.storage.checkpoint_bytes, one.storage.checkpoint_dtypes) == (0, {})
    assert one.storage.backbone_bytes == (Path(language_models["gpt2"]) / "model.safetensors").stat().st_size
    assert one.task_bytes == one.storage.demonstration_bytes
    short = ran("icl:k=3", language_models["gpt2"], folder, shots=3, config={"context_length": 45})
    assert short.prompt.demonstrations_per_row < 3
    assert short.storage.demonstration_bytes < one.storage.demonstration_bytes


def test_a_query_is_cut_to_the_models_room_unless_a_length_is_given(language_models: dict[str, str]) -> None:
    task = toy_task(words=(150, 160), rows=(4, 4))
    backbone: Any = fresh_copy(language_models["gpt2"], task)  # 256 positions
    whole = backbone.encode(task, task.splits["test"])
    assert whole.truncated == 0
    assert min(len(ids) for ids in whole.columns["input_ids"]) > 128
    assert backbone.encode(task, task.splits["test"], 100).truncated == 4
    with pytest.raises(UserError, match="max_length is 7"):
        backbone.encode(task, task.splits["test"], 7)


def test_calibration_survives_a_prior_that_underflows(language_models: dict[str, str]) -> None:
    backbone: Any = fresh_copy(language_models["gpt2"])
    method = ICL(k=0, calibrate=True)
    method.attach(backbone)
    trainer = harness(backbone, method)
    free = torch.tensor([[-10.0, -500.0]])
    trainer.scores = lambda scorer, examples: free.expand(3, 2)  # type: ignore[method-assign]
    rows = encode(backbone, split="test")
    batch = trainer.prompts.prepend_to(rows).batch(range(4))
    scores = method.fit(backbone, rows, trainer)(batch)
    assert scores.isfinite().all()
    assert torch.allclose(scores, backbone.score(batch).log_softmax(1) - free.log_softmax(1), atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "t5", "bart"])
def test_logits_are_read_in_float32_under_autocast(name: str, language_models: dict[str, str]) -> None:
    """A constant that all logits share changes no probability; in bf16 it would swallow their differences."""
    backbone: Any = fresh_copy(language_models[name])
    rows = encode(backbone, split="test").batch(range(8))
    output = backbone.model.get_output_embeddings()
    backbone.model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = backbone.choice_logprobs(rows)
        output.register_forward_hook(lambda module, args, scores: scores - 200.0)
        after = backbone.choice_logprobs(rows)
    assert (before - after).abs()[rows.inputs["choice_mask"]].max() < 1e-3


def test_features_of_a_model_whose_states_are_projected_have_their_width(tmp_path: Path) -> None:
    folder = make_language_model(tmp_path / "opt", "opt", word_embed_proj_dim=16, do_layer_norm_before=False)
    backbone: Any = fresh_copy(str(folder))
    method = parse("features")
    attach(method, backbone)
    trainer = harness(backbone, method, steps=2)
    method.fit(backbone, encode(backbone), trainer)
    assert backbone.width == 16


def test_a_rate_of_dropout_reaches_a_head_that_is_made_later(language_models: dict[str, str]) -> None:
    backbone: Any = fresh_copy(language_models["gpt2"], dropout=0.3)
    assert backbone.add_head().dropout.p == 0.3


def test_the_decoders_start_token_may_be_in_the_generation_config(language_models: dict[str, str]) -> None:
    backbone: Any = fresh_copy(language_models["t5"])
    rows = encode(backbone, split="test").batch(range(4))
    expected = backbone.score(rows)
    backbone.model.config.decoder_start_token_id = None
    backbone.model.generation_config.decoder_start_token_id = 0
    assert torch.equal(backbone.score(rows), expected)
    backbone.model.generation_config.decoder_start_token_id = None
    with pytest.raises(UserError, match="decoder_start_token_id"):
        backbone.score(rows)


def test_a_missing_option_is_no_answer() -> None:
    fields = {"question": "Which", "one": None, "two": "book", "three": "film"}
    rows = [Row("0", fields, 2), Row("1", fields, 0)]
    names = ("one", "two", "three")
    splits = {"train": rows, "test": rows}
    task = Task("options", "multiple choice", splits, ("question", *names), names, (MetricSpec("accuracy"),))
    prompt = find_template(task, "plain").render(task, rows[0])
    assert (prompt.choices, prompt.label) == (("book", "film"), 1)
    with pytest.raises(UserError, match="'one' is empty"):
        find_template(task, "plain").render(task, rows[1])
