"""Leads of prompts and of keys: scores, features and gradients equal one plain forward pass per row or per choice."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.bench.models.families.leading import Keys, cache_of, lead_keys, lead_prompts
from tests.toys import encode, fresh_copy, toy_task, widened
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS
from tunefront.methods.base import Unsupported

DECODERS = [name for name, family in LANGUAGE_MODELS.items() if family == "decoder"]
ENCODER_DECODERS = [name for name, family in LANGUAGE_MODELS.items() if family == "seq2seq"]
ENCODERS = [name for name in FAMILIES if name != "deberta-v2"]
N = 3
"""The length of the leads in these tests."""
LEADS: dict[str, Callable[..., nn.Module]] = {"keys": lead_keys, "prompt": lead_prompts}

each_lead = pytest.mark.parametrize("kind", LEADS)


def recompute_activations(model: Any) -> None:
    """Turns gradient checkpointing on, under the name in this release of transformers."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def led(folder: str, kind: str, **options: Any) -> tuple[Backbone, nn.Module, Any]:
    """A backbone with a lead, the lead's module, and a bare model with the same weights."""
    backbone = fresh_copy(folder, **options)
    bare = copy.deepcopy(backbone.model).eval()
    backbone.freeze(keep=backbone.head)
    module = LEADS[kind](backbone, N)
    backbone.model.eval()
    return backbone, module, bare


def plain_decoder(bare: Any, module: nn.Module, ids: Tensor) -> Tensor:
    """Next-token log-probabilities (tokens, vocabulary) of one row of tokens after the lead."""
    lead = module()
    if isinstance(module, Keys):
        logits = bare(input_ids=ids[None], past_key_values=cache_of(lead), use_cache=True).logits[0]
    else:
        embedded = torch.cat([lead["decoder"], bare.get_input_embeddings()(ids)])
        logits = bare(inputs_embeds=embedded[None]).logits[0, N:]
    return logits.log_softmax(-1)


def plain_choices(bare: Any, module: nn.Module, rows: Any, shape: torch.Size) -> Tensor:
    """(batch, choices, tokens): every choice after its prompt and the lead, in a separate pass."""
    scores = torch.zeros(shape)
    for row in range(shape[0]):
        query = rows.columns["input_ids"][row]
        for place, choice in enumerate(rows.choices[row]):
            logprobs = plain_decoder(bare, module, torch.cat([query, choice]))
            for token, picked in enumerate(choice):
                scores[row, place, token] = logprobs[len(query) - 1 + token, picked]
    return scores


@each_lead
@pytest.mark.parametrize("name", DECODERS)
def test_packed_scores_equal_a_plain_pass_for_every_choice(
    name: str, kind: str, language_models: dict[str, str]
) -> None:
    backbone, module, bare = led(language_models[name], kind)
    rows = encode(backbone, split="test")
    batch = rows.batch(range(6))
    mask = batch.inputs["choice_mask"]
    with torch.no_grad():
        plain = plain_choices(bare, module, rows, mask.shape)[mask]
        assert torch.allclose(backbone.choice_logprobs(batch)[mask], plain, rtol=1e-4, atol=1e-5)
        assert torch.allclose(backbone._logprobs(batch)[mask], plain, rtol=1e-4, atol=1e-5)
        for row in (0, 5):
            last = len(rows.columns["input_ids"][row]) - 1
            ids = rows.columns["input_ids"][row]
            states = backbone.features(batch)[row]
            logits = bare.get_output_embeddings()(states)
            assert torch.allclose(logits.log_softmax(-1), plain_decoder(bare, module, ids)[last], rtol=1e-4, atol=1e-5)


@each_lead
@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_gradients_of_a_decoders_lead_equal_the_plain_ones(
    name: str, kind: str, checkpointing: bool, language_models: dict[str, str]
) -> None:
    backbone, module, bare = led(language_models[name], kind, dropout=0.0)
    rows = encode(backbone, split="test")
    batch = rows.batch(range(4))
    choices = batch.inputs["choice_mask"]
    backbone.prompting.losses.combined(
        plain_choices(bare, module, rows, choices.shape), choices, batch.labels
    ).backward()
    plain = {name: parameter.grad.clone() for name, parameter in module.named_parameters()}
    module.zero_grad()
    if checkpointing:
        recompute_activations(backbone.model)
    backbone.model.train()
    backbone.loss(batch).backward()
    assert backbone.trainable().keys() == {f"lead.{name}" for name in plain}
    for name, parameter in module.named_parameters():
        assert plain[name].abs().max() > 1e-4
        assert torch.allclose(parameter.grad, plain[name], rtol=1e-3, atol=1e-6), name


def plain_encoder(bare: Any, pooling: str, module: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """The pooled state (width,) of one row without padding after the lead: inputs as embeddings, or transformers' own
    cache if the architecture takes one."""
    lead, seq = module(), inputs["input_ids"].shape[1]
    others = {"attention_mask": torch.ones(1, N + seq, dtype=torch.long)}
    if "token_type_ids" in inputs:
        others["token_type_ids"] = torch.zeros(1, N + seq, dtype=torch.long)
    if isinstance(module, Keys):
        others.pop("token_type_ids", None)
        states = bare(input_ids=inputs["input_ids"], past_key_values=cache_of(lead), **others).last_hidden_state
    else:
        embedded = torch.cat([lead["encoder"][None], bare.get_input_embeddings()(inputs["input_ids"])], dim=1)
        states = bare(inputs_embeds=embedded, **others).last_hidden_state[:, N:]
    if pooling == "pooler":
        return bare.pooler(states)[0]
    return states[0, 0] if pooling == "first" else states[0].mean(0)


def plain_distilbert(bare: Any, module: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """DistilBERT takes no cache: its states (seq, width) after keys and values, in plain algebra."""
    lead, ids = list(module().values()), inputs["input_ids"][0]
    embeddings = bare.embeddings
    positions = embeddings.position_embeddings.weight[N : N + len(ids)]
    x = embeddings.LayerNorm(embeddings.word_embeddings.weight[ids] + positions)
    for layer, (keys, values) in zip(bare.transformer.layer, lead, strict=True):
        own = layer.attention
        query, key, value = (
            part(x).unflatten(-1, (2, 16)).transpose(0, 1) for part in (own.q_lin, own.k_lin, own.v_lin)
        )
        key, value = torch.cat([keys[0], key], dim=1), torch.cat([values[0], value], dim=1)
        mixed = ((query @ key.mT / 4.0).softmax(-1) @ value).transpose(0, 1).flatten(1)
        x = layer.sa_layer_norm(own.out_lin(mixed) + x)
        x = layer.output_layer_norm(layer.ffn(x[None])[0] + x)
    return x


@each_lead
@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("pooling", ["pooler", "first", "mean"])
def test_an_encoder_pools_real_tokens_after_the_lead(
    family: str, kind: str, pooling: str, backbones: dict[str, str]
) -> None:
    backbone = fresh_copy(backbones[family])
    if pooling == "pooler" and backbone.pooling != "pooler":
        pytest.skip(f"{family} has no pooler")
    backbone.pooling = pooling
    bare = copy.deepcopy(backbone.model).eval()
    module = LEADS[kind](backbone, N)
    rows = encode(backbone, split="test")
    backbone.model.eval()
    with torch.no_grad():
        features = backbone.features(rows.batch(range(8)))
        for row in range(8):
            inputs = rows.batch([row]).inputs
            if family == "distilbert" and kind == "keys":
                states = plain_distilbert(bare, module, inputs)
                plain = states[0] if pooling == "first" else states.mean(0)
            else:
                plain = plain_encoder(bare, pooling, module, inputs)
            assert torch.allclose(features[row], plain, rtol=1e-4, atol=1e-5), row


@each_lead
@pytest.mark.parametrize("name", [*ENCODERS, *LANGUAGE_MODELS])
def test_batch_mates_and_padding_change_no_row_after_a_lead(name: str, kind: str, folders: dict[str, str]) -> None:
    backbone, _, _ = led(folders[name], kind)
    rows = encode(backbone, split="test")
    with torch.no_grad():
        together = backbone.score(rows.batch(range(8)))
        states = backbone.features(rows.batch(range(8)))
        for row in range(8):
            wide = widened(rows.batch([row]), rows, 2 + row)
            assert torch.allclose(backbone.score(wide)[0], together[row], rtol=1e-4, atol=1e-5)
            assert torch.allclose(backbone.features(wide)[0], states[row], rtol=1e-4, atol=1e-5)


@each_lead
@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS, "bart"])
def test_a_lead_takes_room_and_is_refused_if_none_is_left(name: str, kind: str, folders: dict[str, str]) -> None:
    longest = 64 if name in FAMILIES else 256
    with pytest.raises(Unsupported, match=rf"{longest} of the {longest} tokens that {name} "):
        LEADS[kind](fresh_copy(folders[name]), longest)
    backbone = fresh_copy(folders[name])
    LEADS[kind](backbone, longest - 20)
    long = toy_task(words=(70, 90))
    rows = encode(backbone, long, "test", max_length=500)
    assert rows.truncated == len(rows)
    backbone.model.eval()
    with torch.no_grad():
        assert backbone.score(rows.batch(range(2))).isfinite().all()
    if name in FAMILIES:
        assert max(rows.lengths) == 20
    else:
        assert backbone.room == 20


def attended(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | float, led: tuple[Tensor, Tensor]) -> Tensor:
    """softmax([q k_led, q k + bias]) [v_led, v] for one row: (heads, tokens, width) each, in plain algebra."""
    keys, values = led[0][0], led[1][0]
    scores = torch.cat([query @ keys.mT, query @ key.mT + bias], dim=2)
    return (scores.softmax(-1) @ torch.cat([values, value], dim=1)).transpose(0, 1).flatten(1)


def causal(tokens: int) -> Tensor:
    """The term of scores that hides later tokens."""
    return torch.full((tokens, tokens), -torch.inf).triu(1)


def plain_t5(bare: Any, lead: dict[str, Any], ids: Tensor, decoded: Tensor) -> Tensor:
    """T5's next-token logits (tokens, vocabulary) of one row with leading keys in every attention."""
    width, memory = bare.config.d_kv, torch.empty(0)

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, width)).transpose(0, 1)

    for name, tokens in (("encoder", ids), ("decoder", decoded)):
        stack, x = getattr(bare, name), bare.shared(tokens)
        bias = stack.block[0].layer[0].SelfAttention.compute_bias(len(tokens), len(tokens))[0]
        bias = bias + (causal(len(tokens)) if name == "decoder" else 0)
        for number, block in enumerate(stack.block):
            for place, layer in enumerate(block.layer[:-1]):
                kind = "EncDecAttention" if place else "SelfAttention"
                own, normed = getattr(layer, kind), layer.layer_norm(x)
                source = memory if place else normed
                led = lead[f"{name}.block.{number}.layer.{place}.{kind}"]
                query, key, value = heads(own.q(normed)), heads(own.k(source)), heads(own.v(source))
                x = x + own.o(attended(query, key, value, 0.0 if place else bias, led))
            x = block.layer[-1](x)
        x = stack.final_layer_norm(x)
        memory = memory if name == "decoder" else x
    return bare.lm_head(x * bare.config.d_model**-0.5 if bare.config.scale_decoder_outputs else x)


def plain_bart(bare: Any, lead: dict[str, Any], ids: Tensor, decoded: Tensor) -> Tensor:
    """BART's next-token logits of one row with leading keys in every attention; positions start after them."""
    memory = torch.empty(0)

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, 16)).transpose(0, 1)

    for name, tokens in (("encoder", ids), ("decoder", decoded)):
        stack = getattr(bare.model, name)
        positions = stack.embed_positions.weight[2 + N : 2 + N + len(tokens)]
        x = stack.layernorm_embedding(stack.embed_tokens(tokens) + positions)
        for number, layer in enumerate(stack.layers):
            for kind in ("self_attn", "encoder_attn")[: 1 if name == "encoder" else 2]:
                own, source = getattr(layer, kind), memory if kind == "encoder_attn" else x
                query, key, value = heads(own.q_proj(x) / 4.0), heads(own.k_proj(source)), heads(own.v_proj(source))
                bias = causal(len(tokens)) if name == "decoder" and kind == "self_attn" else 0.0
                led = lead[f"model.{name}.layers.{number}.{kind}"]
                mixed = attended(query, key, value, bias, led)
                x = getattr(layer, f"{kind}_layer_norm")(x + own.out_proj(mixed))
            x = layer.final_layer_norm(x + layer.fc2(layer.activation_fn(layer.fc1(x))))
        memory = x
    return bare.lm_head(x) + bare.final_logits_bias[0]


def plain_answers(bare: Any, module: nn.Module, rows: Any, shape: torch.Size) -> Tensor:
    """(batch, choices, tokens): an encoder-decoder on every choice, in a separate pass."""
    lead, start = module(), torch.tensor([bare.config.decoder_start_token_id])
    scores, sides = torch.zeros(shape), {"encoder": "inputs_embeds", "decoder": "decoder_inputs_embeds"}
    for row in range(shape[0]):
        ids = rows.columns["input_ids"][row]
        for place, choice in enumerate(rows.choices[row]):
            decoded = torch.cat([start, choice[:-1]])
            if isinstance(module, Keys):
                logits = (plain_bart if bare.config.model_type == "bart" else plain_t5)(bare, lead, ids, decoded)
            else:
                embedded = {}
                for side, tokens in (("encoder", ids), ("decoder", decoded)):
                    words = getattr(bare, f"get_{side}")().get_input_embeddings()(tokens)
                    embedded[sides[side]] = torch.cat([lead[side], words] if side in lead else [words])[None]
                logits = bare(**embedded).logits[0, -len(decoded) :]
            logprobs = logits.log_softmax(-1)
            scores[row, place, : len(choice)] = logprobs[torch.arange(len(choice)), choice]
    return scores


SEQ2SEQ_LEADS: dict[str, Callable[[Backbone], nn.Module]] = {
    "keys": lambda backbone: lead_keys(backbone, N),
    "prompts": lambda backbone: lead_prompts(backbone, N, decoder=2),
    "encoder prompt": lambda backbone: lead_prompts(backbone, N, decoder=0),
    "decoder prompt": lambda backbone: lead_prompts(backbone, N, encoder=0),
}


@pytest.mark.parametrize("kind", SEQ2SEQ_LEADS)
@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_an_encoder_decoder_scores_as_plain_passes_do(name: str, kind: str, language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models[name])
    bare = copy.deepcopy(backbone.model).eval()
    module = SEQ2SEQ_LEADS[kind](backbone)
    rows = encode(backbone, split="test")
    backbone.model.eval()
    batch = rows.batch(range(6))
    mask = batch.inputs["choice_mask"]
    with torch.no_grad():
        plain = plain_answers(bare, module, rows, mask.shape)[mask]
        assert torch.allclose(backbone.choice_logprobs(batch)[mask], plain, rtol=1e-4, atol=1e-5)
        assert torch.allclose(backbone._logprobs(batch)[mask], plain, rtol=1e-4, atol=1e-5)
        logits = backbone._plain(backbone.features(batch))
        first = torch.stack([logits.log_softmax(-1)[row, rows.choices[row][0][0]] for row in range(6)])
        assert torch.allclose(first, backbone.choice_logprobs(batch)[:, 0, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SEQ2SEQ_LEADS)
@pytest.mark.parametrize("name", ENCODER_DECODERS)
@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_gradients_of_an_encoder_decoders_lead_equal_the_plain_ones(
    name: str, kind: str, checkpointing: bool, language_models: dict[str, str]
) -> None:
    backbone = fresh_copy(language_models[name], dropout=0.0)
    bare = copy.deepcopy(backbone.model).eval()
    backbone.freeze()
    module = SEQ2SEQ_LEADS[kind](backbone)
    rows = encode(backbone, split="test")
    batch = rows.batch(range(4))
    choices = batch.inputs["choice_mask"]
    logprobs = plain_answers(bare, module, rows, choices.shape)
    backbone.prompting.losses.combined(logprobs, choices, batch.labels).backward()
    plain = {name: parameter.grad.clone() for name, parameter in module.named_parameters()}
    module.zero_grad()
    if checkpointing:
        recompute_activations(backbone.model)
    backbone.model.train()
    backbone.loss(batch).backward()
    for name, parameter in module.named_parameters():
        assert plain[name].abs().max() > 1e-5
        assert torch.allclose(parameter.grad, plain[name], rtol=1e-3, atol=1e-6), name


def test_relative_positions_leave_room_for_any_lead(language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models["t5"])
    lead_prompts(backbone, 1000)
    assert backbone.room is None


def test_deberta_takes_no_lead_and_says_why(backbones: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="deberta-v2 has its own attention"):
        lead_keys(fresh_copy(backbones["deberta-v2"]))


@each_lead
@pytest.mark.parametrize("name", [*ENCODERS, *LANGUAGE_MODELS])
def test_a_copy_has_its_own_lead_and_a_fresh_backbone_none(name: str, kind: str, folders: dict[str, str]) -> None:
    backbone, module, _ = led(folders[name], kind)
    batch = encode(backbone, split="test").batch(range(4))
    copied = copy.copy(backbone)
    copied.model = copy.deepcopy(backbone.model)
    if copied.head is not None:
        copied.head = copied.model.head
    with torch.no_grad():
        before = backbone.score(batch)
        assert torch.equal(copied.score(batch), before)
        for parameter in module.parameters():
            parameter.add_(1.0)
        assert torch.equal(copied.score(batch), before)
        assert not torch.equal(backbone.score(batch), before)
    fresh = fresh_copy(folders[name])
    assert fresh.led == 0
    assert all(part.config._attn_implementation == "sdpa" for part in fresh.model.modules() if hasattr(part, "config"))


@each_lead
@pytest.mark.parametrize("name", DECODERS)
def test_demonstrations_follow_the_lead(name: str, kind: str, language_models: dict[str, str]) -> None:
    """Keys and values of demonstrations, read once after the lead, against one plain pass per choice."""
    backbone, module, bare = led(language_models[name], kind)
    shots = encode(backbone).take([0, 1])
    prefix = backbone.read(backbone.prefix(shots))
    rows = prefix.demonstrations.prepend_to(encode(backbone, split="test"))
    prefixed = next(iter(rows.by_prefix.values()))
    batch = rows.batch(range(4))
    tokens = torch.tensor(prefix.demonstrations.ids[: prefix.tokens])
    with torch.no_grad():
        scores = backbone.choice_logprobs(batch, prefix)
        for row in range(4):
            query = torch.cat([tokens, prefixed.tokens[row]])
            for place, choice in enumerate(rows.choices[row]):
                logprobs = plain_decoder(bare, module, torch.cat([query, choice]))
                plain = [logprobs[len(query) - 1 + token, picked] for token, picked in enumerate(choice)]
                assert torch.allclose(scores[row, place, : len(choice)], torch.stack(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_a_training_row_sees_only_visible_keys(name: str, language_models: dict[str, str]) -> None:
    """The first key is hidden from the first row: its loss is that of a lead without it, apart from positions."""
    backbone, module, bare = led(language_models[name], "keys", dropout=0.0)
    rows = encode(backbone, split="test")
    batch = rows.batch(range(3))

    def visible(batch: Any) -> Tensor:
        mask = torch.ones(len(batch.labels), N, dtype=torch.bool)
        mask[0, 0] = False
        return mask

    module.visible = visible
    mask = batch.inputs["choice_mask"]
    with torch.no_grad():
        hidden, shown = backbone._logprobs(batch), backbone.choice_logprobs(batch)
        assert not torch.allclose(hidden[0][mask[0]], shown[0][mask[0]], atol=1e-4)
        assert torch.allclose(hidden[1:][mask[1:]], shown[1:][mask[1:]], rtol=1e-4, atol=1e-5)
        query, choice = rows.columns["input_ids"][0], rows.choices[0][0]
        ids = torch.cat([query, choice])
        cache = cache_of({path: (keys[:, :, 1:], values[:, :, 1:]) for path, (keys, values) in module().items()})
        positions = torch.arange(N, N + len(ids))[None]
        whole = torch.ones(1, N - 1 + len(ids), dtype=torch.long)
        logits = bare(input_ids=ids[None], attention_mask=whole, position_ids=positions, past_key_values=cache).logits
        plain = logits[0, len(query) - 1 : -1].log_softmax(-1).gather(1, choice[:, None])[:, 0]
        assert torch.allclose(hidden[0, 0, : len(choice)], plain, rtol=1e-4, atol=1e-5)


def test_an_impossible_lead_is_refused(language_models: dict[str, str]) -> None:
    class Returns(nn.Module):
        def __init__(self, output: Any):
            super().__init__()
            self.output = output

        def forward(self) -> Any:
            return self.output

    path = "model.layers.0.self_attn"
    right = (torch.zeros(1, 1, 3, 16),) * 2
    for output, message in (
        (None, "NoneType; .*must return a mapping"),
        ({}, "an empty mapping; .*must return a mapping"),
        ({"encoder": torch.zeros(3, 32)}, "in 'encoder'; .*: decoder, model.layers.0.self_attn"),
        ({"decoder": torch.zeros(3, 31)}, r"in the decoder must be a tensor \(n, 32\), got \(3, 31\)"),
        ({path: torch.zeros(3, 32)}, r"must each be \(1, 1, n, 16\), got \(3, 32\)"),
        ({path: (torch.zeros(1, 2, 3, 16),) * 2}, r"must each be \(1, 1, n, 16\)"),
        ({path: right, "decoder": torch.zeros(3, 32)}, "in the decoder .*both a prompt and keys"),
        ({path: right, "model.layers.1.self_attn": (torch.zeros(1, 1, 4, 16),) * 2}, r"in the decoder .*\[3, 4\]"),
    ):
        backbone = fresh_copy(language_models["qwen2"])
        with pytest.raises(ValueError, match=message):
            backbone.lead(Returns(output))
        assert not hasattr(backbone.model, "lead")
    backbone = fresh_copy(language_models["qwen2"])
    lead_prompts(backbone, 3)
    with pytest.raises(ValueError, match="already has a lead"):
        lead_keys(backbone, 3)
    backbone.model.set_attn_implementation("eager")
    with pytest.raises(RuntimeError, match="its attention must stay 'tunefront_leads'"):
        backbone.score(encode(backbone).batch([0]))


@pytest.mark.parametrize("name", ["gpt2", "mistral"])
def test_a_lead_may_have_keys_for_some_blocks_only(name: str, language_models: dict[str, str]) -> None:
    """In training and in scoring; the blocks below do not see them."""
    backbone = fresh_copy(language_models[name])
    (stack,) = backbone.stacks
    module = Keys(stack.attentions[1:], N)
    backbone.lead(module)
    backbone.model.eval()
    batch = encode(backbone, split="test").batch(range(4))
    mask = batch.inputs["choice_mask"]
    with torch.no_grad():
        assert torch.allclose(
            backbone._logprobs(batch)[mask], backbone.choice_logprobs(batch)[mask], rtol=1e-4, atol=1e-5
        )
        states: dict[str, Tensor] = {}
        first = backbone.model.get_submodule(stack.attentions[0].path)
        first.register_forward_hook(lambda module, args, output: states.update(first=output[0]))
        backbone._logprobs(batch)
        before = states["first"].clone()
        for parameter in module.parameters():
            parameter.add_(1.0)
        backbone._logprobs(batch)
        assert torch.equal(states["first"], before), "the first block does not see the lead of the second"


@pytest.mark.parametrize("name", DECODERS)
def test_a_prompt_is_read_once_per_training_batch_and_once_before_scoring(
    name: str, language_models: dict[str, str]
) -> None:
    backbone, module, _ = led(language_models[name], "prompt")
    rows = encode(backbone, split="test")
    read: list[tuple[int, ...]] = []
    base = backbone._base

    def counting(**inputs: Any) -> Tensor:
        if "inputs_embeds" in inputs:
            read.append(tuple(inputs["inputs_embeds"].shape))
        return base(**inputs)

    backbone._base = counting
    backbone.model.train()
    backbone.loss(rows.batch(range(8))).backward()
    assert read == [(1, N, 32)]
    backbone.model.eval()
    with torch.no_grad():
        plain = backbone.score(rows.batch(range(8)))
        assert len(read) == 2
        backbone.keep_lead()
        assert torch.equal(backbone.score(rows.batch(range(8))), plain)
        backbone.score(rows.batch(range(8, 16)))
        assert len(read) == 3
        next(module.parameters())[0, 0].add_(1.0)
        assert backbone.kept_lead is None
        assert not torch.allclose(backbone.score(rows.batch(range(8))), plain)
        assert len(read) == 4
