"""Demonstrations are read up to the most that a prompt keeps, and every meter agrees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.models.scoring.plain import plain_scores
from tests.toys import encode, fresh_copy, harness, loaded
from tunefront.bench.cells import Cell
from tunefront.bench.data.sources import load_task
from tunefront.bench.data.task import Row
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.execution.setup import Setup
from tunefront.bench.forecast.predict import predict
from tunefront.bench.models.families.language import FILLERS
from tunefront.bench.models.tiny import WORDS
from tunefront.bench.records import Record
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.bench.templates import Prompt, find_template
from tunefront.methods.icl import ICL
from tunefront.methods.spelling import parse
from tunefront.reports.compare.query_costs import WITH_CACHE, WITHOUT_CACHE, list_ways

D, INNER, LAYERS = 32, 64, 2


def folder_of(where: Path, train: tuple[int, ...], test: tuple[int, ...]) -> Path:
    """A task whose rows have these numbers of words; each word is a token in the fixtures."""
    where.mkdir(parents=True, exist_ok=True)
    for split, lengths in (("train", train), ("test", test)):
        rows = [
            {"text": " ".join(WORDS[(row + place) % 14] for place in range(count)), "label": row % 2, "idx": row}
            for row, count in enumerate(lengths)
        ]
        where.joinpath(f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    meta = {"task_type": "classification", "label_names": ["bad", "good"], "label_field": "label"}
    meta |= {"input_fields": ["text"], "metrics": ["accuracy"]}
    where.joinpath("meta.json").write_text(json.dumps(meta), "utf-8")
    return where


def cell_of(backbone: str, folder: Path, spelled: str, **config: Any) -> Cell:
    method = parse(spelled)
    settings = RunConfig(**config)
    return Cell(method, backbone, f"dir:{folder}", resolve_recipe(method, {}), template="plain", config=settings)


def run(cell: Cell) -> Record:
    record, _ = run_cell(cell)
    assert record.status == "ok", record.reason
    return record


def ends_of(
    cell: Cell, order: Sequence[Row], queries: Sequence[Prompt] = ()
) -> tuple[tuple[int, ...], list[int], list[str]]:
    """Tokens of the first j demonstrations, the number that each query (test row) has room for, and the texts of the
    demonstrations, all by tokenising whole prompts."""
    task = load_task(cell.task)
    template = find_template(task, "plain")
    tokenizer = loaded(cell.backbone).tokenizer

    def length(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    prompts = [template.render(task, row) for row in order]
    texts = [f"{prompt.text} {prompt.choices[prompt.label]}" for prompt in prompts]
    ends = tuple(length("\n\n".join(texts[:count])) if count else 0 for count in range(len(texts) + 1))
    kept = []
    for prompt in queries or [template.render(task, row) for row in task.splits["test"]]:
        answer = max(length(f"{prompt.text} {choice}") for choice in prompt.choices) - length(prompt.text)
        whole = [length("\n\n".join([*texts[:count], prompt.text])) + answer for count in range(len(texts) + 1)]
        kept.append(max([0, *(n for n, tokens in enumerate(whole) if tokens <= (cell.config.context_length or 256))]))
    return ends, kept, texts


def gpt2_states(tokens: int) -> int:
    """FLOPs of the states of causal tokens: projections, and attention's two products."""
    layer = tokens * (4 * D * D + 2 * D * INNER) + 2 * tokens * tokens * D
    return 2 * LAYERS * layer


@pytest.fixture(scope="module")
def long_queries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight demonstrations of 4 to 9 words, and queries of 24 to 40: in 100 tokens none has room for all eight."""
    return folder_of(tmp_path_factory.mktemp("rows") / "long", (4, 5, 6, 7, 8, 9, 4, 5), (40, 31, 24, 36))


@pytest.mark.parametrize("spelled", ["icl:k=8", "icl:k=8,order=3", "icl:k=6,balanced=true"])
def test_demonstrations_are_read_up_to_the_most_that_a_prompt_keeps(
    spelled: str, language_models: dict[str, str], long_queries: Path
) -> None:
    """Each meter by its closed formula: keys and values are 2 x layers x width numbers per token, of four bytes."""
    cell = cell_of(language_models["gpt2"], long_queries, spelled, context_length=100)
    setup = Setup(cell)
    method = cell.method
    chosen = method._chosen(setup.train.labels.tolist())  # type: ignore[attr-defined]
    record = run(cell)
    assert record.prompt.demonstration_ids is not None
    assert len(record.prompt.demonstration_ids[0]) == len(chosen)
    task = load_task(cell.task)
    rows = {row.id: row for row in task.splits["train"]}
    order = [rows[name] for name in record.prompt.demonstration_ids[0]]
    ends, kept, texts = ends_of(cell, order)
    most = max(kept)
    assert 0 < most < len(chosen), "otherwise the test proves nothing"
    assert len(set(kept)) > 1
    tokens = ends[most]
    assert record.prompt.prefix_tokens == tokens
    assert record.flops.prefix == gpt2_states(tokens)
    assert record.prompt.kv_cache_bytes == 2 * LAYERS * D * tokens * 4
    assert record.storage.demonstration_bytes == len("\n\n".join(texts[:most]).encode())
    assert record.prompt.demonstrations_per_row == sum(kept) / len(kept)
    assert record.flops.phases is not None
    assert record.flops.phases["prefill"].counted == record.flops.phases["prefill"].analytic == gpt2_states(tokens)
    assert record.memory.phases is not None
    assert (
        record.memory.phases["prefill"]["kv_cache"]
        == record.memory.phases["query"]["kv_cache"]
        == record.prompt.kv_cache_bytes
    )
    without = sum(gpt2_states(ends[count]) for count in kept) / len(kept)
    assert record.flops.inference_per_example is not None
    expected = record.flops.inference_per_example + without
    assert record.flops.inference_per_example_without_reuse == pytest.approx(expected)
    planned = predict(cell)
    assert planned.prompt == record.prompt
    for name in ("flops.prefix", "storage.demonstration_bytes"):
        assert attrgetter(name)(planned) == attrgetter(name)(record), name
    assert planned.memory.phases is not None
    assert planned.memory.phases["query"]["kv_cache"] == record.prompt.kv_cache_bytes
    reused, without_reuse = list_ways({"icl": [record]})
    assert (reused.how, without_reuse.how) == (WITH_CACHE, WITHOUT_CACHE)
    assert reused.flops is not None
    assert (reused.flops.start, reused.kept_bytes) == (
        gpt2_states(tokens),
        record.prompt.kv_cache_bytes + record.storage.demonstration_bytes,
    )


def test_scores_are_those_of_the_whole_texts(language_models: dict[str, str], long_queries: Path) -> None:
    cell = cell_of(language_models["gpt2"], long_queries, "icl:k=8", context_length=100)
    setup = Setup(cell)
    scorer = cell.method.fit(setup.backbone, setup.train, setup.trainer)
    scores = setup.trainer.score(scorer, setup.test).values
    backbone: Any = setup.backbone
    _, kept, _ = ends_of(cell, setup.rows.train)
    shots: Any = setup.train
    rows: Any = setup.test
    for row, count in enumerate(kept):
        plain = plain_scores(backbone.model, backbone.tokenizer, [rows.prompts[row]], shots.prompts[:count])
        assert torch.allclose(scores[row], plain[0], atol=1e-5)


@pytest.mark.parametrize("spelled", ["icl:k=4", "icl:k=4,ensemble=2"])
def test_nothing_is_read_if_no_prompt_keeps_demonstrations(
    spelled: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    """The first demonstration alone would fit into the model, but not together with a query."""
    folder = folder_of(tmp_path, (30, 31, 32, 33), (30, 28))
    cell = cell_of(language_models["gpt2"], folder, spelled, context_length=48)
    record, alone = run(cell), run(cell_of(language_models["gpt2"], folder, "icl:k=0", context_length=48))
    for each in (record, predict(cell)):
        assert (each.prompt.prefix_tokens, each.prompt.kv_cache_bytes, each.storage.demonstration_bytes) == (0, 0, 0)
        assert (each.flops.prefix, each.seconds.prefix, each.prompt.demonstrations_per_row) == (None, None, 0)
        assert each.flops.phases is not None
        assert "prefill" not in each.flops.phases
        assert each.memory.phases is not None
        assert "prefill" not in each.memory.phases
        assert not each.memory.phases["query"].get("kv_cache")
        assert each.flops.inference_per_example_without_reuse == each.flops.inference_per_example
    if "ensemble" not in spelled:
        assert record.scores.test == alone.scores.test
        assert record.flops.inference_per_example == alone.flops.inference_per_example
    reused, without_reuse = list_ways({"icl": [record]})
    for way in (reused, without_reuse):
        assert way.flops is not None
        assert (way.flops.start, way.flops.slope) == (0, record.flops.inference_per_example)
        assert way.seconds is not None


def test_calibration_reads_what_its_short_prompts_keep(language_models: dict[str, str], long_queries: Path) -> None:
    """A content-free prompt is scored too, and has room for more than any row."""
    cell = cell_of(language_models["gpt2"], long_queries, "icl:k=8,calibrate=true", context_length=100)
    plain = run(cell_of(language_models["gpt2"], long_queries, "icl:k=8", context_length=100))
    rows, task = Setup(cell).rows.train, load_task(cell.task)
    content_free = [find_template(task, "plain").content_free(task, filler) for filler in FILLERS]
    record, (ends, kept, _) = run(cell), ends_of(cell, rows, content_free)
    most = max(kept)
    assert record.prompt.prefix_tokens == ends[most] > (plain.prompt.prefix_tokens or 0)
    assert record.flops.prefix is not None
    assert record.flops.calibration is not None
    assert record.flops.prefix - record.flops.calibration == gpt2_states(ends[most])
    assert record.prompt.kv_cache_bytes == 2 * LAYERS * D * ends[most] * 4
    assert record.memory.phases is not None
    assert (
        record.memory.phases["prefill"]["kv_cache"]
        == record.memory.phases["query"]["kv_cache"]
        == record.prompt.kv_cache_bytes
    )
    assert predict(cell).prompt.kv_cache_bytes == record.prompt.kv_cache_bytes


def test_an_encoder_decoder_counts_the_demonstrations_of_the_query_that_keeps_most(
    language_models: dict[str, str], long_queries: Path
) -> None:
    cell = cell_of(language_models["t5"], long_queries, "icl:k=8", context_length=100)
    record = run(cell)
    setup = Setup(cell)
    cell.method.fit(setup.backbone, setup.train, setup.trainer)
    (prefix,) = setup.trainer.prompts.prefixes
    rows: Any = setup.trainer.prompts.prepend_to(setup.test)
    (prefixed,) = rows.by_prefix.values()
    most = max(prefixed.kept)
    assert 0 < most < 8
    assert record.prompt.prefix_tokens == prefix.demonstrations.ends[most]
    assert record.storage.demonstration_bytes == len("\n\n".join(prefix.demonstrations.texts[:most]).encode())
    assert (record.prompt.kv_cache_bytes, record.flops.prefix) == (None, None)


def test_without_known_queries_all_that_fit_are_read(language_models: dict[str, str]) -> None:
    """Without knowledge of the rows to score, a harness reads more when a row keeps more, and never less."""
    backbone: Any = fresh_copy(language_models["gpt2"], context_length=120)
    trainer = harness(backbone, ICL(k=4))
    scorer = ICL(k=4).fit(backbone, encode(backbone), trainer)
    (prefix,) = trainer.prompts.prefixes
    assert prefix.n_kept == prefix.demonstrations.fitting
    prefix.take_over(backbone.read(prefix.limited_to(1)))
    rows = encode(backbone, split="test")
    most = max(trainer.prompts.prepend_to(rows).by_prefix[prefix.demonstrations.name].kept)  # type: ignore[attr-defined]
    trainer.score(scorer, rows)
    assert prefix.n_kept == most > 1


# Cut rows among the training rows.


@pytest.fixture(scope="module")
def long_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training rows; the last four are longer than 24 tokens, with the tokens that every prompt adds."""
    return folder_of(tmp_path_factory.mktemp("rows") / "cut", (4, 5, 6, 7, 40, 41, 42, 43), (4, 30))


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [("icl:k=8", 0), ("icl:k=8,calibrate=true", 0), ("icl:k=0", 0), ("full", 4), ("houlsby", 4), ("features", 4)],
)
def test_only_cut_rows_that_a_method_learned_from_count(
    spelled: str, expected: int, language_models: dict[str, str], long_rows: Path
) -> None:
    """Demonstrations are never cut, whatever max_length is."""
    cell = cell_of(language_models["gpt2"], long_rows, spelled, max_length=24)
    for record in (run(cell), predict(cell)):
        assert record.data.truncated_train == expected
        assert record.data.truncated_test == 1


def test_a_method_that_learns_from_some_rows_counts_only_those(
    language_models: dict[str, str], long_rows: Path
) -> None:
    """Rows that it trains on twice count once; rows that it scores while fitting count too."""
    cell = cell_of(language_models["gpt2"], long_rows, "full", max_length=24)
    setup = Setup(cell)
    cut = [row for row, shortened in enumerate(setup.train.cut) if shortened]
    whole = next(row for row in range(8) if row not in cut)
    some = setup.train.take([whole, *cut[:2]])
    setup.trainer.train(setup.backbone.trainable(), setup.backbone.loss, some)
    setup.trainer.train(setup.backbone.trainable(), setup.backbone.loss, some.take([1]))
    assert (some.truncated, len(setup.trainer.cost.cut_rows)) == (2, 2)
    setup.trainer.scores(setup.backbone.score, setup.train.take([whole, cut[3]]))
    assert len(setup.trainer.cost.cut_rows) == 3


def test_rows_of_an_encoder_know_which_of_them_were_cut(backbones: dict[str, str], long_rows: Path) -> None:
    task = load_task(f"dir:{long_rows}")
    rows = fresh_copy(backbones["bert"], task).encode(task, task.splits["train"], 24)
    assert rows.cut == (*(False,) * 4, *(True,) * 4)
    assert (rows.truncated, rows.take([0, 7]).truncated) == (4, 1)
