"""The overhead of the memory ledger in a training step, and the time of the largest model without weights."""

from __future__ import annotations

import resource
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from tests.benchmarks.side_by_side import SideBySide, random_tokens, show

RATIO_TARGET, SECONDS_TARGET = 1.3, 30
ROWS, LENGTH = 32, 64
T0_11B = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_decoder_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
}


def test_the_ledger_adds_little_to_a_step(benchmark: Any) -> None:
    """A model of MiniLM's size with random weights, all trained."""
    import torch
    from torch import Tensor
    from transformers import BertConfig, BertModel

    from tunefront.bench.meters.memory.tracker import Ledger
    from tunefront.bench.training.step import Step
    from tunefront.methods.base import Batch, Recipe, trained

    size = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    model = BertModel(BertConfig(vocab_size=30522, **size), add_pooling_layer=False).train()
    rows = random_tokens(("input_ids", "attention_mask", "token_type_ids"), ROWS, LENGTH)
    batch = rows.batch(range(ROWS))

    def loss(batch: Batch) -> Tensor:
        return (
            model(**batch.inputs).last_hidden_state[..., :100].square().mean()
        )  # over the full width, the norm would make it constant

    step = Step(trained(model), loss, replace(Recipe(), learning_rate=1e-9), nullcontext)

    def plain() -> None:
        step.forward(batch).backward()  # type: ignore[no-untyped-call]
        step.update()

    def followed() -> None:
        with Ledger(model) as ledger:
            with ledger.phase("forward"):
                value = step.forward(batch)
            with ledger.phase("backward"):
                value.backward()  # type: ignore[no-untyped-call]
            with ledger.phase("optimizer"):
                step.update()

    assert torch.get_num_threads() == 1
    timed = SideBySide(benchmark, {"plain": plain, "followed": followed}, rounds=7)
    show(
        benchmark,
        f"training step of 6 layers of width 384, {ROWS} x {LENGTH} tokens, one thread",
        [
            {
                "step": name,
                "seconds": timed.median(name),
                "ratio": timed.ratio(name, "plain"),
                "target": RATIO_TARGET if name == "followed" else "",
            }
            for name in ("plain", "followed")
        ],
    )
    assert timed.ratio("followed", "plain") < 1.6


@pytest.mark.parametrize("trains", ["all", "vectors"])
def test_a_step_of_eleven_billion_parameters_without_weights(benchmark: Any, trains: str) -> None:
    """T0-11B's shape in fake tensors: forward, backward and AdamW under the ledger."""
    import torch
    from torch import Tensor, nn
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import T5Config, T5ForConditionalGeneration

    from tunefront.bench.meters.memory.phases import BatchReplay, step_phases
    from tunefront.bench.meters.memory.tracker import Ledger
    from tunefront.bench.training.step import Step
    from tunefront.methods.base import Batch, Recipe, trained

    with FakeTensorMode(allow_non_fake_inputs=True):
        model: Any = T5ForConditionalGeneration(T5Config(**T0_11B))
        # transformers ties every T5 made from a configuration, v1.1 too.
        model.lm_head.weight = nn.Parameter(torch.empty_like(model.lm_head.weight))
    model.encoder.embed_tokens = model.decoder.embed_tokens = model.shared
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e9, 1) == 11.1
    for parameter in model.parameters():
        parameter.requires_grad_(trains == "all" or parameter.ndim == 1)
    inputs = {"input_ids": torch.randint(2, 32000, (8, 256)), "labels": torch.randint(2, 32000, (8, 32))}
    batch = Batch(inputs, torch.zeros(8), torch.arange(8))

    def loss(batch: Batch) -> Tensor:
        return model(**batch.inputs).loss

    ledger = Ledger(model.train())
    step = Step(trained(model), loss, Recipe(), nullcontext)
    seconds, processor_seconds = [], []

    def run() -> None:
        start = time.perf_counter(), time.process_time()
        step_phases(ledger, step, BatchReplay((1,), lambda: batch))
        seconds.append(time.perf_counter() - start[0])
        processor_seconds.append(time.process_time() - start[1])

    benchmark.pedantic(run, rounds=1, iterations=1, warmup_rounds=0)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    show(
        benchmark,
        f"a step of T0-11B in fake tensors, {trains} trained; at most {SECONDS_TARGET} s",
        [
            {
                "phase": phase,
                **{owner: f"{owners.get(owner, 0) / 2**30:.2f} GiB" for owner in ledger.peaks["backward"]},
                "seconds": seconds[0],
                "processor seconds": processor_seconds[0],
                "operators": ledger.operations,
                "peak of this process": f"{resident / 2**30:.2f} GiB",
            }
            for phase, owners in ledger.peaks.items()
        ],
    )
    assert processor_seconds[0] < 2 * SECONDS_TARGET
    assert ledger.peaks["forward"]["optimizer_state"] > 0
