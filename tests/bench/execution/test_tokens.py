"""The tokens in a record, against counts of the texts by the tokenizer alone."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.conftest import make_toy
from tunefront.bench.cells import Cell
from tunefront.bench.data.sources import load_task
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.records import Record
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.bench.templates import Prompt, find_template
from tunefront.methods.spelling import parse

TRAIN, TEST = 20, 12
EPOCHS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("tokens") / "toy", rows=(TRAIN, 4, TEST))


def ran(backbone: str, folder: Path, spelled: str, template: str | None = "plain", **recipe: Any) -> Record:
    method = parse(spelled)
    chosen = resolve_recipe(method, {"epochs": EPOCHS, "batch_size": 4, **recipe})
    record, _ = run_cell(Cell(method, backbone, f"dir:{folder}", chosen, template=template, config=RunConfig()))
    assert record.status == "ok", record.reason
    return record


def prompts_of(folder: Path, split: str) -> list[Prompt]:
    task = load_task(f"dir:{folder}")
    template = find_template(task, "plain")
    return [template.render(task, row) for row in task.splits[split]]


def shown_in(record: Record, folder: Path) -> list[str]:
    """The demonstrations of a record as text."""
    task = load_task(f"dir:{folder}")
    prompts = {row.id: p for row, p in zip(task.splits["train"], prompts_of(folder, "train"), strict=True)}
    assert record.prompt.demonstration_ids is not None
    (ids,) = record.prompt.demonstration_ids
    return [f"{prompts[row].text}{prompts[row].separator}{prompts[row].choices[prompts[row].label]}" for row in ids]


def counter(backbone: str) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def texts_of(folder: Path, split: str) -> list[str]:
    lines = folder.joinpath(f"{split}.jsonl").read_text("utf-8").splitlines()
    return [str(json.loads(line)["text"]) for line in lines]


def test_an_encoder_reads_texts_and_no_answers(folder: Path, backbones: dict[str, str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(backbones["bert"])
    lengths = {
        split: [len(tokenizer(text)["input_ids"]) for text in texts_of(folder, split)] for split in ("train", "test")
    }
    tokens = ran(backbones["bert"], folder, "bitfit", template=None).tokens
    assert tokens.query == pytest.approx(fmean(lengths["test"]))
    assert (tokens.prefix, tokens.answer, tokens.right_answer) == (0, 0, 0)
    assert tokens.train == EPOCHS * sum(lengths["train"])


def test_features_are_read_once_whatever_the_epochs(folder: Path, backbones: dict[str, str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(backbones["bert"])
    tokens = ran(backbones["bert"], folder, "features", template=None, epochs=7).tokens
    assert tokens.train == sum(len(tokenizer(text)["input_ids"]) for text in texts_of(folder, "train"))


def test_a_language_model_reads_prompts_with_all_choices(folder: Path, language_models: dict[str, str]) -> None:
    count, splits = counter(language_models["gpt2"]), {name: prompts_of(folder, name) for name in ("train", "test")}
    rows = {
        name: [
            (count(p.text), [count(f"{p.text}{p.separator}{c}") - count(p.text) for c in p.choices]) for p in prompts
        ]
        for name, prompts in splits.items()
    }
    tokens = ran(language_models["gpt2"], folder, "bitfit").tokens
    assert tokens.query == pytest.approx(fmean(text for text, _ in rows["test"]))
    assert tokens.answer == pytest.approx(fmean(sum(choices) for _, choices in rows["test"]))
    right = [choices[p.label] for (_, choices), p in zip(rows["test"], splits["test"], strict=True)]
    assert tokens.right_answer == pytest.approx(fmean(right))
    assert tokens.train == EPOCHS * sum(text + sum(choices) for text, choices in rows["train"])


@pytest.mark.parametrize("method", ["features", "knn:k=1"])
def test_where_no_choice_is_scored_there_are_no_tokens_of_answers(
    method: str, folder: Path, language_models: dict[str, str]
) -> None:
    count = counter(language_models["gpt2"])
    tokens = ran(language_models["gpt2"], folder, method).tokens
    assert (tokens.answer, tokens.right_answer) == (0, 0)
    assert tokens.train == sum(count(prompt.text) for prompt in prompts_of(folder, "train"))


def test_demonstrations_are_counted_apart_from_the_query(folder: Path, language_models: dict[str, str]) -> None:
    """A demonstration is a whole answered prompt; two newlines before the next text belong to the latter."""
    count, queries = counter(language_models["gpt2"]), [p.text for p in prompts_of(folder, "test")]
    record = ran(language_models["gpt2"], folder, "icl:k=3")
    shown, tokens = shown_in(record, folder), record.tokens
    prefix, whole = count("\n\n".join(shown)), [count("\n\n".join([*shown, query])) for query in queries]
    assert tokens.prefix == pytest.approx(prefix)
    assert tokens.query == pytest.approx(fmean(whole) - prefix)
    assert tokens.train == 0


def test_every_order_of_an_average_is_read(folder: Path, language_models: dict[str, str]) -> None:
    one, two = (ran(language_models["gpt2"], folder, f"icl:k=2,ensemble={n}").tokens for n in (1, 2))
    assert one.prefix is not None
    assert one.query is not None
    assert one.answer is not None
    assert (two.query, two.answer) == (pytest.approx(2 * one.query), pytest.approx(2 * one.answer))
    assert two.prefix == pytest.approx(2 * one.prefix)  # the same two rows in both orders
    assert one.right_answer == two.right_answer


def test_an_encoder_decoder_reads_demonstrations_apart_from_the_query(
    folder: Path, language_models: dict[str, str]
) -> None:
    count, queries = counter(language_models["t5"]), [p.text for p in prompts_of(folder, "test")]
    none, record = ran(language_models["t5"], folder, "icl:k=0").tokens, ran(language_models["t5"], folder, "icl:k=2")
    shown, two = shown_in(record, folder), record.tokens
    assert none.prefix == 0
    assert none.query == pytest.approx(fmean(count(query) + 1 for query in queries))  # </s>
    assert two.prefix is not None
    assert two.query is not None
    assert two.prefix == pytest.approx(count("\n\n".join(shown)))
    assert two.prefix + two.query == pytest.approx(fmean(count("\n\n".join([*shown, q])) + 1 for q in queries))


@pytest.mark.parametrize(("method", "positions"), [("prompt_tuning:length=5", 5), ("prefix_tuning:length=4", 4)])
def test_a_learned_prompt_is_a_prefix(
    method: str, positions: int, folder: Path, language_models: dict[str, str]
) -> None:
    assert ran(language_models["gpt2"], folder, method).tokens.prefix == positions


def test_gradients_of_rows_are_counted_with_the_steps(folder: Path, backbones: dict[str, str]) -> None:
    """FISH reads every row once for its gradients, before it trains."""
    plain, fish = (ran(backbones["bert"], folder, name, template=None).tokens for name in ("bitfit", "fish"))
    assert plain.train is not None
    assert fish.train == plain.train // EPOCHS * (EPOCHS + 1)
