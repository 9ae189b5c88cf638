"""FLOPs of language models: extrapolated totals against counts of every batch, and against numbers by hand."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from tests.toys import (
    Listed,
    attach,
    encode,
    every_third,
    fresh_copy,
    harness,
    mixed_task,
    pair_id,
    shipped,
    takes_choices,
    toy_task,
)
from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.flops.by_phase import NO_FLOPS
from tunefront.bench.meters.flops.counted import counted_flops, undisturbed
from tunefront.bench.meters.memory.phases import requiring_grad
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.tiny import LANGUAGE_MODELS
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.methods.base import Method, Scorer
from tunefront.methods.icl import ICL

WAYS = (
    *(method for method in shipped() if method.name != "icl"),
    ICL(k=0),
    ICL(k=4),
    ICL(k=4, ensemble=2, calibrate=True),
)


def subject(folder: str, method: Method, **prompting: Any) -> tuple[Any, EncodedExamples, EncodedExamples]:
    """A backbone with a method, training rows and test rows of mixed lengths."""
    if takes_choices(method, folder):
        task = mixed_task(8, 9)
        backbone = fresh_copy(folder, task, template=Listed(), **prompting)
    else:
        task = toy_task(rows=(8, 9), words=(1, 20))
        backbone = fresh_copy(folder, task, **prompting)
    attach(method, backbone)
    return backbone, encode(backbone, task), encode(backbone, task, "test")


def counted(scorer: Scorer, examples: EncodedExamples, size: int) -> int:
    """The counted FLOPs of every scoring batch."""
    with torch.no_grad():
        return sum(counted_flops(lambda b=b: scorer(examples.batch(b))) for b in examples.scoring_order(size))


@pytest.mark.parametrize(("method", "name"), every_third(list(product(WAYS, LANGUAGE_MODELS))), ids=pair_id)
def test_totals_equal_the_counts_of_every_batch(
    method: Method, name: str, language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare_totals(method, language_models[name], monkeypatch)


def compare_totals(method: Method, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asserts that the totals of training and scoring are the counts of every batch."""
    backbone, train, test = subject(folder, method)
    trainer = harness(backbone, method, rows=4, batch_size=4, steps=2)
    steps: list[int] = []
    add, gradients, row_by_row, row_flops = BatchLog.add, trainer.gradients, False, 0

    def counting(shapes: BatchLog, batch: Any) -> None:
        """Counts a step while it runs, because a fit may replace parameters later."""
        if shapes.training and not row_by_row:
            with undisturbed(backbone.model):
                steps.append(counted_flops(lambda: backbone.loss(batch).backward()))
        add(shapes, batch)

    def adding_up(parameters: Any, loss: Any, examples: EncodedExamples, each: Any) -> dict[str, torch.Tensor]:
        nonlocal row_by_row, row_flops
        row_by_row = True
        sums = gradients(parameters, loss, examples, each)
        row_by_row = False
        backbone.model.train()
        with requiring_grad([(p, any(p is q for q in parameters.values())) for p in backbone.model.parameters()]):
            for row in range(len(examples)):
                row_flops += counted_flops(lambda: loss(examples.batch([row])).backward())  # noqa: B023  # called at once
        backbone.model.zero_grad()
        return sums

    monkeypatch.setattr(BatchLog, "add", counting)
    monkeypatch.setattr(trainer, "gradients", adding_up)
    scorer = method.fit(backbone, train, trainer)
    scored = trainer.score(scorer, test)
    assert len(steps) == (2 if backbone.trainable() else 0)
    assert scored.flops == counted(scorer, trainer.prompts.prepend_to(test), 4)

    states = counted(backbone.features, train, 4) if "features" in trainer.cost.flops_by_phase else 0
    started = trainer.cost.flops_by_phase.get("prefill", NO_FLOPS).counted
    assert trainer.cost.flops == row_flops + sum(steps) + states + started

    with torch.no_grad():
        reading = counted_flops(backbone.make_lead) if backbone.lead_lengths else 0
        for prefix in trainer.prompts._prefixes:
            reading += counted_flops(lambda p=prefix: backbone.read(p.limited_to(4)))
    if getattr(method, "calibrate", False):
        plain = ICL(**{**vars(method), "calibrate": False}).fit(backbone, train, harness(backbone, method, rows=4))
        reading += counted(plain, trainer.prompts.prepend_to(backbone.content_free()), 4)
    assert trainer.prompts.flops_once(backbone) == reading
    if trainer.prompts.start_prefix is not None:
        untouched, *_ = subject(folder, ICL(k=4))
        with torch.no_grad():
            assert started == counted_flops(lambda: untouched.read(trainer.prompts.start_prefix))


D, INNER, LAYERS = 32, 64, 2


def gpt2_states(tokens: int, before: int = 0) -> int:
    """FLOPs of reading tokens after others; per block: four projections, up and down, scores and weighted values."""
    block = tokens * (4 * D * D + 2 * D * INNER) + 2 * tokens * (before + tokens) * D
    return 2 * LAYERS * block


def demonstrated(
    folder: str, context_length: int | None = None
) -> tuple[Any, MeasuringHarness, Scorer, EncodedExamples]:
    backbone, train, test = subject(folder, ICL(k=4), context_length=context_length)
    trainer = harness(backbone, ICL(k=4))
    return backbone, trainer, ICL(k=4).fit(backbone, train, trainer), test


def test_a_gpt2s_prefix_and_queries_equal_the_closed_formulas(language_models: dict[str, str]) -> None:
    """Demonstrations once; then one row per batch, with output embeddings where a token of a choice is predicted."""
    backbone, trainer, scorer, test = demonstrated(language_models["gpt2"])
    vocabulary = backbone.model.config.vocab_size
    (prefix,) = trainer.prompts._prefixes
    before = len(prefix.demonstrations.ids)
    assert trainer.prompts.tokens == before
    assert trainer.prompts.flops_once(backbone) == gpt2_states(before)
    rows, expected = trainer.prompts.prepend_to(test), 0
    for batch in rows.scoring_order(16):
        choice_tokens = sum(len(choice) - 1 for row in batch for choice in rows.choices[row])
        tokens = sum(len(rows.by_prefix[prefix.demonstrations.name].tokens[row]) for row in batch) + choice_tokens
        expected += gpt2_states(tokens, before) + 2 * (len(batch) + choice_tokens) * D * vocabulary
    assert trainer.score(scorer, test).flops == expected


@pytest.mark.parametrize("context_length", [None, 80])
def test_without_reuse_every_row_reads_its_demonstrations(
    context_length: int | None, language_models: dict[str, str]
) -> None:
    backbone, trainer, _, test = demonstrated(language_models["gpt2"], context_length)
    rows = trainer.prompts.prepend_to(test)
    (prefixed,) = rows.by_prefix.values()
    assert (len(set(prefixed.before)) > 1) is (context_length is not None)
    expected = sum(gpt2_states(before) for before in prefixed.before if before)
    assert trainer.prompts.flops_without_reuse(backbone, test) == expected
    if context_length is None:
        assert expected == len(test) * trainer.prompts.flops_once(backbone)


def test_an_encoder_decoder_caches_no_prefix_and_reads_it_with_every_query(language_models: dict[str, str]) -> None:
    """By hand: T5's encoder over the whole prompt of one row."""
    backbone, trainer, _, test = demonstrated(language_models["t5"])
    assert trainer.prompts.flops_once(backbone) == trainer.prompts.flops_without_reuse(backbone, test) == 0
    assert trainer.prompts.cache_bytes is None
    (prefixed,) = trainer.prompts.prepend_to(test).by_prefix.values()
    tokens = len(prefixed.tokens[0])
    with torch.no_grad():
        states = counted_flops(lambda: backbone.model.get_encoder()(input_ids=prefixed.tokens[0][None]))
    assert states == gpt2_states(tokens)
    (prefix,) = trainer.prompts._prefixes
    assert trainer.prompts.tokens == len(prefix.demonstrations.ids) < tokens


def test_demonstrations_that_nearly_fill_the_context_are_counted(language_models: dict[str, str]) -> None:
    """GPT-2 has no position after its last one, where a probe of a law would reach."""
    task = toy_task(rows=(80, 9), words=(1, 3))
    backbone = fresh_copy(language_models["gpt2"], task)
    method = ICL()
    method.attach(backbone)
    trainer = harness(backbone, method, rows=4)
    rows, test = encode(backbone, task), encode(backbone, task, "test")
    scorer = method.fit(backbone, rows, trainer)
    scored = trainer.score(scorer, test)
    prefixed = trainer.prompts.prepend_to(test)
    room = backbone.model.config.n_positions - max(trainer.prompts.prefixes[0].tokens, 0)
    assert room < 29
    assert scored.flops == counted(scorer, prefixed, 4)
