"""Methods on decoders and encoder-decoders: what they train there, and what they compute."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from tests.toys import pair_id, shake
from tunefront.bench.models.families.encoder import Encoder
from tunefront.bench.models.tiny import LANGUAGE_MODELS, make_language_model
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.full import Full
from tunefront.methods.houlsby import Bottleneck, Houlsby
from tunefront.methods.ia3 import IA3
from tunefront.methods.inject import matching
from tunefront.methods.sites import sites_for
from tunefront.methods.top_layers import TopLayers

FUSED = ("gpt2", "gpt_neox")
SEPARATE = [name for name in LANGUAGE_MODELS if name not in FUSED]
RMS_NORMS = ("llama", "mistral", "qwen2", "t5", "t5-gated")
SEQ2SEQ = [name for name, family in LANGUAGE_MODELS.items() if family == "seq2seq"]
METHODS = (Full(), TopLayers(n=1), Houlsby(bottleneck=4), IA3())
PAIRS = [(name, method) for name in LANGUAGE_MODELS for method in METHODS]


class Bare:
    """As much of a backbone as attach() asks for: a language model, which has no head."""

    head = None
    freeze, trainable = Encoder.freeze, Encoder.trainable

    def __init__(self, model: Any):
        self.model = model.eval()
        self.sites, self.width = sites_for(model.config.model_type), model.config.hidden_size

    @property
    def count(self) -> int:
        return sum(parameter.numel() for parameter in self.trainable().values())

    def logits(self) -> Tensor:
        """Of the last stack at four positions, for two texts of five tokens, the second one padded."""
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(5, 99, (2, 5), generator=generator)
        mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
        decoder = {"decoder_input_ids": tokens[:, :4]} if self.sites.family == "seq2seq" else {}
        return self.model(input_ids=tokens, attention_mask=mask, **decoder).logits[:, :4]


def load(folder: str) -> Bare:
    config = AutoConfig.from_pretrained(folder)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    return Bare(auto.from_pretrained(folder))


def attached(folder: str, method: Method) -> Bare:
    backbone = load(folder)
    method.attach(backbone)
    return backbone


def without_weights(kind: str, **config: Any) -> Bare:
    """A published architecture on the meta device: shapes only."""
    published = AutoConfig.for_model(kind, **config)
    auto = AutoModelForSeq2SeqLM if published.is_encoder_decoder else AutoModelForCausalLM
    with torch.device("meta"):
        return Bare(auto.from_config(published))


# What is trained


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_full_trains_every_parameter(name: str, language_models: dict[str, str]) -> None:
    backbone = attached(language_models[name], Full())
    assert set(backbone.trainable()) == {name for name, _ in backbone.model.named_parameters()}


TOP = {
    "gpt2": ("transformer.h.1.", "transformer.ln_f."),
    "opt": ("model.decoder.layers.1.", "model.decoder.final_layer_norm."),
    "gpt_neox": ("gpt_neox.layers.1.", "gpt_neox.final_layer_norm."),
    "t5": ("decoder.block.1.", "decoder.final_layer_norm."),
    "bart": ("model.decoder.layers.1.",),
} | dict.fromkeys(("llama", "mistral", "qwen2"), ("model.layers.1.", "model.norm."))
TOP["t5-gated"] = TOP["t5"]


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_top_layers_trains_the_last_block_and_the_final_norm(name: str, language_models: dict[str, str]) -> None:
    backbone = attached(language_models[name], TopLayers(n=1))
    expected = {path for path, _ in backbone.model.named_parameters() if path.startswith(TOP[name])}
    assert set(backbone.trainable()) == expected
    assert {prefix for prefix in TOP[name] if any(path.startswith(prefix) for path in expected)} == set(TOP[name])


@pytest.mark.parametrize("name", SEQ2SEQ)
def test_an_encoder_decoders_top_three_blocks_are_the_decoders_and_one_of_the_encoder(
    name: str, language_models: dict[str, str]
) -> None:
    backbone = attached(language_models[name], TopLayers(n=3))
    blocks = {".".join(path.split(".")[:-1]) for path in backbone.trainable()}
    actual = {match[0] for path in blocks if (match := re.search(r"(en|de)coder\.(block|layers)\.\d", path))}
    layers = "layers" if name == "bart" else "block"
    assert actual == {f"encoder.{layers}.1", f"decoder.{layers}.0", f"decoder.{layers}.1"}
    with pytest.raises(Unsupported, match="top_layers:n=5 needs 5 blocks; the backbone has 4"):
        attached(language_models[name], TopLayers(n=5))


def adapters_and_norms(name: str, m: int, d: int = 32, blocks: int = 2) -> tuple[int, int]:
    """How many parameters the adapters have and how many the norms: two or three sublayers a block, a norm before each
    (after it in BART), one at the end of each stack (in BART at its start)."""
    stacks, sublayers = (2, 2 * blocks + 3 * blocks) if name in SEQ2SEQ else (1, 2 * blocks)
    return sublayers * (2 * m * d + m + d), (sublayers + stacks) * (d if name in RMS_NORMS else 2 * d)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_houlsby_trains_an_adapter_a_sublayer_and_every_norm(name: str, language_models: dict[str, str]) -> None:
    backbone = attached(language_models[name], Houlsby(bottleneck=5))
    assert backbone.count == sum(adapters_and_norms(name, m=5))
    assert sum(isinstance(module, Bottleneck) for module in backbone.model.modules()) == (10 if name in SEQ2SEQ else 4)


def vectors(name: str, keys: int = 32, inner: int = 64, blocks: int = 2) -> int:
    """How long the vectors of (IA)^3 are together: keys, values, inner activations; in a decoder twice the former."""
    cross = blocks * (4 * keys + inner) if name in SEQ2SEQ else 0
    return blocks * (2 * keys + inner) + cross


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_ia3_trains_a_vector_for_keys_values_and_inner_activations(name: str, language_models: dict[str, str]) -> None:
    backbone = attached(language_models[name], IA3())
    keys = {"qwen2": 16, "t5-gated": 2 * 12}.get(name, 32)  # one of two heads, and heads narrower than the model
    assert backbone.count == vectors(name, keys)
    assert all(path.endswith(".ia3.scale") for path in backbone.trainable())


T0_3B = {"d_model": 2048, "d_kv": 64, "num_heads": 32, "d_ff": 5120, "num_layers": 24}
T0_11B = {"d_model": 4096, "d_kv": 64, "num_heads": 64, "d_ff": 10240, "num_layers": 24}


@pytest.mark.parametrize(
    ("size", "ia3", "norms"), [(T0_3B, 540_672, 249_856), (T0_11B, 1_081_344, 499_712)], ids=["3B", "11B"]
)
def test_counts_on_t0_equal_t_fews(size: dict[str, int], ia3: int, norms: int) -> None:
    """Of the (IA)^3 vectors, and of the norms, which T-Few trains in addition to its own adapters."""
    backbone = without_weights("t5", **size, feed_forward_proj="gated-gelu", vocab_size=32_128)
    IA3().attach(backbone)
    assert backbone.count == ia3 == vectors("t5", size["d_kv"] * size["num_heads"], size["d_ff"], size["num_layers"])
    backbone.freeze(keep=backbone.sites.norms)
    assert backbone.count == norms == adapters_and_norms("t5", 64, size["d_model"], size["num_layers"])[1]


@pytest.mark.parametrize("method", [TopLayers(n=1), Houlsby(bottleneck=4), IA3()], ids=lambda method: method.name)
def test_opt_350m_has_other_widths_and_no_final_norm(method: Method, tmp_path: Path) -> None:
    """Embeddings narrower than the blocks, and norms after the residual sums."""
    folder = make_language_model(tmp_path / "opt", "opt", word_embed_proj_dim=16, do_layer_norm_before=False)
    backbone = attached(str(folder), method)
    shake(backbone.trainable())
    assert backbone.logits().isfinite().all()
    block = 4 * (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32) + 2 * 2 * 32
    adapters = 4 * (2 * 4 * 32 + 4 + 32) + 4 * 2 * 32
    assert backbone.count == {"top_layers": block, "houlsby": adapters, "ia3": vectors("opt")}[method.name]


# What is computed


@pytest.mark.parametrize(("name", "method"), PAIRS, ids=pair_id)
def test_attaching_changes_no_logit(name: str, method: Method, language_models: dict[str, str]) -> None:
    with torch.no_grad():
        change = attached(language_models[name], method).logits() - load(language_models[name]).logits()
    assert change.abs().max() <= (1e-4 if method.name == "houlsby" else 0.0)


@pytest.mark.parametrize(("name", "method"), PAIRS, ids=pair_id)
def test_every_trained_tensor_has_a_gradient(name: str, method: Method, language_models: dict[str, str]) -> None:
    """But for the keys' biases, which add the same to every logit of a query."""
    backbone = attached(language_models[name], method)
    shake(backbone.trainable())
    backbone.logits().square().mean().backward()
    without = {path for path, value in backbone.trainable().items() if value.grad is None or not value.grad.any()}
    assert {path for path in without if not path.endswith("k_proj.bias")} == set()


def passing(module: nn.Module, seen: list[tuple[Tensor, Tensor]]) -> None:
    """Notes what goes into and comes out of a module."""

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        entering = args[0] if args else kwargs["hidden_states"]
        out = out[0] if isinstance(out, tuple) else out
        seen.append((entering, out.reshape(entering.shape)))  # OPT flattens batch and positions inside its blocks

    module.register_forward_hook(note, with_kwargs=True)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_adapters_see_exactly_what_is_added_to_the_residual_stream(name: str, language_models: dict[str, str]) -> None:
    """With norms before the sublayers a block adds what its adapters' hosts give; after them, each norm's input has
    grown by that."""
    backbone = attached(language_models[name], Houlsby(bottleneck=4))
    shake(backbone.trainable())
    for path, block in matching(backbone.model, backbone.sites.block).items():
        hosts: list[tuple[Tensor, Tensor]] = []
        norms: list[tuple[Tensor, Tensor]] = []
        whole: list[tuple[Tensor, Tensor]] = []
        for inner, module in block.named_modules():
            if re.fullmatch(backbone.sites.sublayer_output, f"{path}.{inner}"):
                module.register_forward_hook(lambda module, args, out, hosts=hosts: hosts.append((out, out)))
            if re.fullmatch(backbone.sites.norms, f"{path}.{inner}"):
                passing(module, norms)
        passing(block, whole)
        with torch.no_grad():
            backbone.logits()
        added = sum(out.reshape(whole[0][1].shape) for out, _ in hosts)
        grown = whole[0][1] - whole[0][0]
        if name == "bart":
            grown = sum(entering for entering, _ in norms) - whole[0][0] - sum(out for _, out in norms[:-1])
        assert len(hosts) == len(norms)
        assert torch.allclose(added, grown, rtol=1e-4, atol=1e-4)


LINEAR = {
    **dict.fromkeys(("llama", "mistral", "qwen2"), ("k_proj", "v_proj", "up_proj", "down_proj")),
    **dict.fromkeys(("opt", "bart"), ("k_proj", "v_proj", None, "fc2")),
    "t5": ("k", "v", None, "wo"),
    "t5-gated": ("k", "v", "wi_1", "wo"),
}
"""Of keys, of values, of the inner activation's factor without an activation (in gated feed-forwards), and after it."""


@pytest.mark.parametrize("name", SEPARATE)
def test_ia3_is_what_scaled_weights_give(name: str, language_models: dict[str, str]) -> None:
    """Rows of the keys', the values' and, where the feed-forward is gated, the ungated projection: T-Few's places."""
    ours, plain = attached(language_models[name], IA3()), load(language_models[name])
    before = plain.logits()
    shake(ours.trainable(), scale=0.5)
    key, value, factor, down = LINEAR[name]
    scales = {path.removesuffix(".ia3.scale"): scale for path, scale in ours.trainable().items()}
    assert {path.rsplit(".", 1)[1] for path in scales} == {key, value, down}
    with torch.no_grad():
        for path, scale in scales.items():
            parent, leaf = path.rsplit(".", 1)
            host = plain.model.get_submodule(path)
            if leaf == down and factor is None:
                host.weight *= scale  # columns
                continue
            host = plain.model.get_submodule(f"{parent}.{factor}") if leaf == down else host
            host.weight *= scale.unsqueeze(1)  # rows
            if host.bias is not None:
                host.bias *= scale
    assert torch.allclose(ours.logits(), plain.logits(), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before, plain.logits(), atol=1e-2)


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def _rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def _gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool) -> Tensor:
    """Attention of two heads, each (batch, positions, both heads' width)."""
    query, key, value = (x.unflatten(-1, (2, -1)).transpose(1, 2) for x in (query, key, value))
    logits = query @ key.mT * scale
    if causal:
        logits = logits.masked_fill(torch.ones(logits.shape[-2:]).triu(1).bool(), -torch.inf)
    return (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)


def _adapter(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    """x itself where there is no adapter."""
    if f"{name}.adapter.up.weight" not in w:
        return x
    inner = _gelu(x @ w[f"{name}.adapter.down.weight"].T + w[f"{name}.adapter.down.bias"])
    return x + inner @ w[f"{name}.adapter.up.weight"].T + w[f"{name}.adapter.up.bias"]


def _gpt2_block(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    """One GPT-2 block with adapters, in plain tensor algebra; its weights are (inputs, outputs)."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    fused = linear(_norm(x, w["ln_1.weight"], w["ln_1.bias"]), "attn.c_attn")
    attended = linear(_attend(*fused.split(32, -1), scale=16**-0.5, causal=True), "attn.c_proj")
    x = x + _adapter(attended, w, "attn.resid_dropout")
    inner = _gelu(linear(_norm(x, w["ln_2.weight"], w["ln_2.bias"]), "mlp.c_fc"))
    return x + _adapter(linear(inner, "mlp.c_proj"), w, "mlp.dropout")


def _t5_decoder_block(x: Tensor, memory: Tensor, w: dict[str, Tensor]) -> Tensor:
    """One decoder block of T5 v1.0 without relative positions, with adapters or (IA)^3, in plain tensor algebra."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T * w.get(f"{name}.ia3.scale", torch.ones(1))

    def attention(x: Tensor, source: Tensor, name: str, causal: bool) -> Tensor:
        query, key, value = linear(x, f"{name}.q"), linear(source, f"{name}.k"), linear(source, f"{name}.v")
        return linear(_attend(query, key, value, 1.0, causal), f"{name}.o")

    normed = _rms_norm(x, w["layer.0.layer_norm.weight"])
    x = x + _adapter(attention(normed, normed, "layer.0.SelfAttention", causal=True), w, "layer.0.dropout")
    normed = _rms_norm(x, w["layer.1.layer_norm.weight"])
    x = x + _adapter(attention(normed, memory, "layer.1.EncDecAttention", causal=False), w, "layer.1.dropout")
    inner = linear(_rms_norm(x, w["layer.2.layer_norm.weight"]), "layer.2.DenseReluDense.wi").relu()
    inner = inner * w.get("layer.2.DenseReluDense.wo.ia3.scale", torch.ones(1))
    return x + _adapter(inner @ w["layer.2.DenseReluDense.wo.weight"].T, w, "layer.2.dropout")


@torch.no_grad()
def test_adapters_in_a_gpt2_block_are_as_in_the_paper(language_models: dict[str, str]) -> None:
    backbone = attached(language_models["gpt2"], Houlsby(bottleneck=6))
    shake(backbone.trainable())
    tokens = torch.randint(5, 99, (3, 7), generator=torch.Generator().manual_seed(0))
    states = backbone.model(input_ids=tokens, output_hidden_states=True).hidden_states
    ours = _gpt2_block(states[0], dict(backbone.model.transformer.h[0].state_dict()))
    assert torch.allclose(ours, states[1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("method", [Houlsby(bottleneck=6), IA3()], ids=lambda method: method.name)
def test_a_t5_decoder_block_is_as_in_the_papers(method: Method, language_models: dict[str, str]) -> None:
    """Cross attention has an adapter of its own, and vectors of its own that act on the encoder's states."""
    backbone = attached(language_models["t5"], method)
    shake(backbone.trainable(), scale=0.3)
    for stack in (backbone.model.encoder, backbone.model.decoder):
        stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.zero_()
    tokens = torch.randint(5, 99, (3, 7), generator=torch.Generator().manual_seed(0))
    output = backbone.model(input_ids=tokens, decoder_input_ids=tokens[:, :4], output_hidden_states=True)
    states, weights = output.decoder_hidden_states, dict(backbone.model.decoder.block[0].state_dict())
    ours = _t5_decoder_block(states[0], output.encoder_last_hidden_state, weights)
    assert torch.allclose(ours, states[1], rtol=1e-4, atol=1e-4)
    bare = {name: value for name, value in weights.items() if "adapter" not in name and "ia3" not in name}
    assert not torch.allclose(_t5_decoder_block(states[0], output.encoder_last_hidden_state, bare), ours, atol=0.1)


# The models themselves


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_tokenizers_add_what_their_kinds_add(name: str, language_models: dict[str, str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(language_models[name])
    config = AutoConfig.from_pretrained(language_models[name])
    bare, whole = (tokenizer("the film was good", add_special_tokens=special)["input_ids"] for special in (False, True))
    before, after = {"llama": ([2], []), "bart": ([0], [2]), "t5": ([], [1]), "t5-gated": ([], [1])}.get(name, ([], []))
    assert whole == before + bare + after
    assert len(bare) == 4
    assert tokenizer.decode(bare) == "the film was good"
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (config.pad_token_id, config.eos_token_id)
    assert len(tokenizer) == config.vocab_size
    assert not set(tokenizer.all_special_ids) & set(bare)


def test_only_the_gated_t5_has_output_embeddings_of_its_own_and_leaves_its_states_unscaled(
    language_models: dict[str, str],
) -> None:
    """As published: T5 v1.1's checkpoints hold two matrices, whatever their configurations say by now."""
    tied = {}
    for name in ("t5", "t5-gated"):
        model = load(language_models[name]).model
        tied[name] = (model.lm_head.weight is model.shared.weight, model.config.scale_decoder_outputs)
    assert tied == {"t5": (True, True), "t5-gated": (False, False)}
