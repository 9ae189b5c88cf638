"""A trained prefix of demonstrations: where it starts, what a row may see of it, and what it takes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.toys import Untrained, encode, fresh_copy, harness, shake, toy_task
from tunefront.bench.data.task import Task
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.models.families import decoder as decoders
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS
from tunefront.bench.records import Prompt
from tunefront.bench.settings import resolve_recipe
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.methods.base import Unsupported
from tunefront.methods.cartridge import Cartridge
from tunefront.methods.icl import ICL

DECODERS = [name for name, family in LANGUAGE_MODELS.items() if family == "decoder"]


def begun(folder: str, method: Cartridge | None = None, task: Task | None = None, **settings: Any) -> tuple[Any, Any]:
    """A backbone with a cartridge as it starts, dropout apart; and the harness."""
    method = method or Cartridge(k=4)
    backbone = fresh_copy(folder, task, dropout=0.0, **settings)
    method.attach(backbone)
    trainer = harness(backbone, method, kind=Untrained)
    method.fit(backbone, encode(backbone, task), trainer)
    return backbone, trainer


def training_rows(backbone: Any, trainer: Any) -> Any:
    return trainer.prompts.after_start(encode(backbone))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", DECODERS)
def test_before_a_step_it_scores_as_the_same_demonstrations_do(
    name: str, dtype: str, language_models: dict[str, str]
) -> None:
    """Bit for bit, in either dtype: the trained float32 numbers are cast back to what was read."""
    actual = []
    for method in (ICL(k=5), Cartridge(k=5)):
        backbone = fresh_copy(language_models[name])
        method.attach(backbone)
        trainer = harness(backbone, method, kind=Untrained, dtype=dtype)
        scorer = method.fit(backbone, encode(backbone), trainer)
        actual.append(trainer.score(scorer, encode(backbone, split="test")).values)
    assert torch.equal(*actual)


@pytest.mark.parametrize("name", DECODERS)
def test_the_count_is_two_tensors_a_block_of_the_demonstrations_tokens(
    name: str, language_models: dict[str, str]
) -> None:
    backbone, trainer = begun(language_models[name])
    tokens = trainer.prompts.start_prefix.tokens
    heads = 1 if name == "qwen2" else 2
    actual = backbone.trainable()
    assert sum(parameter.numel() for parameter in actual.values()) == 2 * 2 * tokens * heads * 16
    assert {parameter.dtype for parameter in actual.values()} == {torch.float32}
    assert not any(parameter.is_inference() for parameter in actual.values())
    assert trainer.prompts.prefixes == ()


def test_the_models_own_dropout_is_off_as_in_the_authors_code() -> None:
    """Context Tuning's train.py loads GPT-2 with attn_pdrop, embd_pdrop and resid_pdrop 0."""
    recipe = resolve_recipe(Cartridge(), {})
    assert (recipe.dropout, Cartridge().dropout) == (0.0, 0.05)


def reference(backbone: Any, query: list[int], answer: list[int], seen: Tensor) -> Tensor:
    """The log-probabilities of an answer's tokens: the model's own forward pass on one row after a cache of keys and
    values, positions counted from the last of them."""
    from transformers import DynamicCache

    lead, ids = backbone.model.lead, [*query, *answer[:-1]]
    cache = DynamicCache(list(zip(lead.keys, lead.values, strict=True)))
    before = lead.keys[0].shape[2]
    logits = backbone.model(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.cat([seen.long(), torch.ones(len(ids), dtype=torch.long)])[None],
        position_ids=torch.arange(before, before + len(ids))[None],
        past_key_values=cache,
    ).logits[0]
    after = logits[len(query) - 1 :].log_softmax(1)
    return after[torch.arange(len(answer)), torch.tensor(answer)]


@pytest.mark.parametrize("name", ["gpt2", "opt", "gpt_neox", "llama", "qwen2"])
def test_scores_and_losses_are_those_of_a_plain_pass_after_a_cache(name: str, language_models: dict[str, str]) -> None:
    """And the gradients of keys and values; row 2 is a demonstration, row 9 is none."""
    backbone, trainer = begun(language_models[name])
    shake(backbone.trainable())
    rows = training_rows(backbone, trainer)
    batch = rows.batch([2, 9])
    backbone.model.eval()  # no token is dropped; demonstrations are left out all the same
    backbone.loss(batch).backward()
    gradients = [parameter.grad.clone() for parameter in backbone.trainable().values()]
    seen = backbone.model.lead.visible(batch)
    assert seen.all(1).tolist() == [False, True]
    logprobs = [
        [reference(backbone, rows.columns["input_ids"][row].tolist(), choice.tolist(), visible) for choice in choices]
        for row, choices, visible in ((2, rows.choices[2], seen[0]), (9, rows.choices[9], seen[1]))
    ]
    longest = batch.inputs["choice_ids"].shape[2]
    padded = torch.stack(
        [torch.stack([nn.functional.pad(one, (0, longest - len(one))) for one in of]) for of in logprobs]
    )
    loss = backbone.prompting.losses.combined(padded, batch.inputs["choice_mask"], batch.labels)
    expected = torch.autograd.grad(loss, list(backbone.trainable().values()))
    assert torch.allclose(backbone.loss(batch), loss, atol=1e-5)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    with torch.no_grad():
        scores = backbone.score(batch)
        whole = torch.ones_like(seen[0])
        for place, row in enumerate((2, 9)):
            query = rows.columns["input_ids"][row].tolist()
            alone = [reference(backbone, query, choice.tolist(), whole).mean() for choice in rows.choices[row]]
            assert torch.allclose(scores[place], torch.stack(alone), atol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_a_demonstration_is_hidden_from_its_own_row_alone(name: str, language_models: dict[str, str]) -> None:
    backbone, trainer = begun(language_models[name])
    rows = training_rows(backbone, trainer)
    lead, spans = backbone.model.lead, trainer.prompts.start_prefix.demonstrations.spans
    assert len(spans) == 4
    assert spans[0][0] == (1 if name == "llama" else 0), "the beginning of the text is nobody's"
    assert spans[-1][1] == lead.keys[0].shape[2]
    assert all(one[1] == other[0] for one, other in pairwise(spans))

    def losses(moved: int | None = None) -> list[float]:
        kept = [parameter.detach().clone() for parameter in lead.parameters()]
        if moved is not None:
            first, end = spans[moved]
            with torch.no_grad():
                for parameter in lead.parameters():
                    parameter[:, :, first:end] += 1.5
        with torch.no_grad():
            actual = [float(backbone.loss(rows.batch([row]))) for row in range(6)]
            for parameter, value in zip(lead.parameters(), kept, strict=True):
                parameter.copy_(value)
        return actual

    backbone.model.eval()
    before = losses()
    for row in range(4):
        after = losses(row)
        assert after[row] == before[row]
        assert all(after[other] != before[other] for other in range(6) if other != row)
        backbone.model.zero_grad()
        backbone.loss(rows.batch([row])).backward()
        for parameter in lead.parameters():
            own = torch.zeros(parameter.shape[2], dtype=torch.bool)
            own[slice(*spans[row])] = True
            assert not parameter.grad[:, :, own].any()
            assert parameter.grad[:, :, ~own].any()


def test_every_row_sees_what_stands_before_the_first_demonstration(language_models: dict[str, str]) -> None:
    backbone, trainer = begun(language_models["llama"], Cartridge(k=1))
    seen = backbone.model.eval().lead.visible(training_rows(backbone, trainer).batch([0, 1]))
    assert seen[0].tolist() == [True, *[False] * (seen.shape[1] - 1)]
    assert seen[1].all()


def test_tokens_are_dropped_in_training_alone_and_by_the_harnesss_generator(language_models: dict[str, str]) -> None:
    def seen(seed: int) -> Tensor:
        backbone = fresh_copy(language_models["gpt2"])
        method = Cartridge(k=4, dropout=0.25)
        method.attach(backbone)
        trainer = harness(backbone, method, seed, kind=Untrained)
        method.fit(backbone, encode(backbone), trainer)
        batch = training_rows(backbone, trainer).batch(range(4, 64))
        lead = backbone.model.train().lead
        masks = torch.stack([lead.visible(batch) for _ in range(20)])
        assert backbone.model.eval().lead.visible(batch).all()
        return masks

    torch.manual_seed(3)
    first = seen(0)
    torch.manual_seed(4)
    again, other = seen(0), seen(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    share = 1 - first.float().mean().item()
    deviation = (0.25 * 0.75 / first.numel()) ** 0.5
    assert abs(share - 0.25) < 5 * deviation


def test_without_dropout_every_row_sees_all_that_is_not_its_own(language_models: dict[str, str]) -> None:
    backbone, trainer = begun(language_models["gpt2"], Cartridge(k=4, dropout=0.0))
    assert backbone.model.train().lead.visible(training_rows(backbone, trainer).batch(range(4, 20))).all()


@pytest.mark.parametrize("family", [*FAMILIES, "t5", "bart"])
def test_only_decoders_keep_keys_and_values_of_text(family: str, folders: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="that a decoder has read"):
        Cartridge().attach(fresh_copy(folders[family]))


def test_a_decoder_whose_choices_are_scored_one_by_one_is_refused(
    language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = fresh_copy(language_models["gpt2"])
    monkeypatch.setitem(decoders._SIDE_BY_SIDE, backbone.kind, False)
    with pytest.raises(Unsupported, match="GPT2LMHeadModel ignores the positions"):
        Cartridge().attach(backbone)


def test_rows_without_room_for_all_demonstrations_are_named(language_models: dict[str, str]) -> None:
    """Of training as of scoring: what is trained stands before every row."""
    task = toy_task(words=(1, 30))
    with pytest.raises(Unsupported, match=r"row \d+ leaves room for [0-3] of 4 demonstrations"):
        begun(language_models["gpt2"], task=task, context_length=90)
    assert begun(language_models["gpt2"], task=task, context_length=250)[0].led > 90


def test_a_row_to_score_without_room_is_named_before_anything_is_read(language_models: dict[str, str]) -> None:
    """Short rows to learn from, and a long one to score."""
    task = toy_task(words=(1, 2))
    long = encode(fresh_copy(language_models["gpt2"], toy_task(words=(28, 30))), toy_task(words=(28, 30)), "test")
    backbone = fresh_copy(language_models["gpt2"], task, context_length=64)
    Cartridge(k=4).attach(backbone)
    trainer = harness(backbone, Cartridge(k=4))
    trainer.prompts._queries = (long,)
    with pytest.raises(Unsupported, match="leaves room for"):
        Cartridge(k=4).fit(backbone, encode(backbone, task), trainer)
    assert trainer.cost.clock.seconds == 0


def test_rows_follow_what_training_starts_from_or_a_prefix(language_models: dict[str, str]) -> None:
    backbone, trainer = begun(language_models["gpt2"])
    rows = encode(backbone)
    with pytest.raises(ValueError, match="already follow"):
        trainer.start_from(backbone, rows.take([0]))
    with pytest.raises(ValueError, match="already follow"):
        trainer.prefill(backbone, rows.take([0]))


def test_its_record_charges_reading_to_training_and_keeps_no_text(
    language_models: dict[str, str], toy_folder: str
) -> None:
    settings = {"eval_rows": 6, "steps": 3}
    records = {}
    for method in ("cartridge:k=4", "icl:k=4"):
        asked = Overrides(
            methods=[method],
            backbones=[language_models["llama"]],
            tasks=[toy_folder],
            shots=[8],
            draws=[0],
            seeds=[0],
            settings=settings,
        )
        records[method], _ = run_cell(expand("quick", asked).cells[0])
    record, icl = records.values()
    assert record.reason is None
    assert record.flops.phases is not None
    assert icl.flops.phases is not None
    assert list(record.flops.phases) == ["forward", "backward", "prefill", "evaluation"]
    assert record.flops.phases["prefill"].counted == icl.flops.phases["prefill"].counted
    assert record.flops.train == sum(
        record.flops.phases[phase].counted or 0 for phase in ("forward", "backward", "prefill")
    )
    assert record.flops.inference_per_example == icl.flops.inference_per_example
    assert record.prompt == Prompt()
    assert (record.flops.prefix, record.seconds.prefix, record.storage.demonstration_bytes) == (None, None, None)
    assert (
        record.parameters.trainable
        == record.parameters.inserted
        == record.parameters.total - record.parameters.backbone
    )
    assert record.parameters.trainable * 4 == icl.prompt.kv_cache_bytes
    assert record.storage.checkpoint_bytes is not None
    assert icl.prompt.kv_cache_bytes < record.storage.checkpoint_bytes < icl.prompt.kv_cache_bytes + 2000
    assert record.memory.phases is not None
    assert record.memory.phases["prefill"]["kv_cache"] == icl.prompt.kv_cache_bytes


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1"),
        ({"dropout": float("nan")}, "dropout must be at least 0 and below 1"),
    ],
)
def test_values_that_mean_nothing_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cartridge(**fields)


def test_a_cartridge_needs_as_many_rows_as_it_has_demonstrations() -> None:
    assert Cartridge(k=7).fewest_rows == 7
