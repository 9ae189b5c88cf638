"""Sites: every regex matches on its architecture, and the error for an unknown architecture says what to write."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.pytorch_utils import Conv1D

from tests.toys import fresh_copy
from tunefront.bench.models.tiny import make_backbone
from tunefront.methods.inject import matching, width
from tunefront.methods.sites import SITES, Sites, sites_for

NOT_SITES = ("pooling", "head_activation", "repeated", "family", "fused", "fused_by_head", "absent")
REGEXES = [f.name for f in fields(Sites) if f.name not in NOT_SITES]
PROJECTIONS = ("query", "key", "value", "attention_output", "ffn_up", "ffn_gate", "ffn_down")
ENCODERS = [kind for kind, sites in SITES.items() if sites.family == "encoder"]
COUNTS = {  # in three blocks a stack; a block has one of each other, an encoder-decoder's decoder two attentions
    "encoder": dict.fromkeys(REGEXES, 3) | {"sublayer_output": 2 * 3, "final_norm": 1},
    "decoder": dict.fromkeys(REGEXES, 3) | {"sublayer_output": 2 * 3, "final_norm": 1},
    "seq2seq": dict.fromkeys(REGEXES, 3 + 3 * 2)
    | {"block": 2 * 3, "ffn_up": 2 * 3, "ffn_down": 2 * 3, "ffn_output": 2 * 3, "ffn_gate": 2 * 3}
    | {"sublayer_output": 2 * 3 + 3 * 3, "final_norm": 1},
}
FUSED_KINDS = ("gpt2", "gpt_neox", "phi3", "bloom", "falcon", "modernbert")
MIXTURES = ("qwen3_moe", "mixtral")
ABSENT = {kind: {"query", "key", "value"} for kind in FUSED_KINDS}
ABSENT |= {kind: {"ffn_up", "ffn_gate", "ffn_down", "ffn_output", "sublayer_output"} for kind in MIXTURES}
for kind in (*ENCODERS, "bart"):
    ABSENT.setdefault(kind, set()).add("final_norm")
for kind in ("modernbert", "xlm-roberta-xl"):
    ABSENT[kind].remove("final_norm")
UNGATED = (*ENCODERS, *FUSED_KINDS, "opt", "phi", "gptj", "bart", "pegasus", "mbart")
ABSENT = {kind: ABSENT.get(kind, set()) | ({"ffn_gate"} if kind in UNGATED else set()) for kind in SITES}
for kind in ("nomic_bert", "gte"):
    ABSENT[kind].remove("ffn_gate")
FUSED = ("c_attn", "query_key_value", "qkv_proj", "Wqkv")
"""Projections in a block that are no site."""

DIMENSIONS = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 12}
GROUPED = (
    *("llama", "mistral", "qwen2", "qwen3", "smollm3", "granite", "gemma", "gemma2", "gemma3_text", "olmo2"),
    "cohere2",
)
SMALL: dict[str, dict[str, object]] = {
    "distilbert": {"dim": 8, "n_layers": 3, "n_heads": 2, "hidden_dim": 12},
    "gpt2": {"n_embd": 8, "n_layer": 3, "n_head": 2, "n_inner": 12},
    "opt": {**DIMENSIONS, "ffn_dim": 12, "word_embed_proj_dim": 4},
    **{kind: {**DIMENSIONS, "num_key_value_heads": 1, "head_dim": 4} for kind in GROUPED},
    "cohere": {**DIMENSIONS, "num_key_value_heads": 1, "use_qk_norm": True},
    "phi": {**DIMENSIONS, "qk_layernorm": True},
    "phi3": {**DIMENSIONS, "num_key_value_heads": 1},
    "gptj": {"n_embd": 8, "n_layer": 3, "n_head": 2, "n_inner": 12, "rotary_dim": 2},
    "falcon": {**DIMENSIONS, "ffn_hidden_size": 12},
    "bloom": {"hidden_size": 8, "n_layer": 3, "n_head": 2},
    "qwen3_moe": {
        **DIMENSIONS,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 8,
    },
    "mixtral": {**DIMENSIONS, "num_key_value_heads": 1, "num_local_experts": 4},
    **{
        kind: {"d_model": 8, "num_layers": 3, "num_heads": 2, "d_kv": 5, "d_ff": 12, "feed_forward_proj": "gated-gelu"}
        for kind in ("t5", "mt5", "umt5")
    },
    **{
        kind: {
            "d_model": 8,
            "encoder_layers": 3,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 12,
            "decoder_layers": 3,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": 12,
        }
        for kind in ("bart", "pegasus", "mbart")
    },
    "albert": {**DIMENSIONS, "num_hidden_groups": 3},  # a block is the weights that the layers of a group share
}
"""Each architecture's own names for width 8, three blocks a stack, two heads and an inner width of 12."""
HEADS = dict.fromkeys((*GROUPED, "cohere", *MIXTURES), (8, 4)) | dict.fromkeys(("t5", "mt5", "umt5"), (10, 10))
"""The widths of queries and of keys, where they are not the model's."""
INNER = {"phi3": (24, 12), "bloom": (32, 32), "modernbert": (24, 12)}
"""The widths that `ffn_up` makes and `ffn_down` reads, where they are not 12: the gate's too, or always four times."""


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    """Three blocks a stack of each architecture that has a record, as published but narrow."""
    auto = {"encoder": AutoModel, "decoder": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}
    tokens = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    return {
        kind: auto[sites.family].from_config(AutoConfig.for_model(kind, **tokens, **SMALL.get(kind, DIMENSIONS))).eval()
        for kind, sites in SITES.items()
    }


def is_projection(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def is_norm(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Norm")


@pytest.mark.parametrize("site", REGEXES)
@pytest.mark.parametrize("kind", SITES)
def test_every_site_matches_once_a_block_or_is_none(kind: str, site: str, models: dict[str, nn.Module]) -> None:
    regex = getattr(SITES[kind], site)
    if site in ABSENT.get(kind, set()):
        assert regex is None
        return
    actual = matching(models[kind], regex)
    if site == "norms":
        assert set(actual.values()) == {module for module in models[kind].modules() if is_norm(module)}
        return
    assert len(actual) == COUNTS[SITES[kind].family][site]
    if site in PROJECTIONS:
        assert all(is_projection(module) for module in actual.values())


@pytest.mark.parametrize("kind", SITES)
def test_every_projection_in_a_block_is_a_site_or_known_to_be_none(kind: str, models: dict[str, nn.Module]) -> None:
    sites, model = SITES[kind], models[kind]
    blocks = tuple(f"{path}." for path in matching(model, sites.block))
    inside = {path for path, module in model.named_modules() if is_projection(module) and path.startswith(blocks)}
    named = {path for site in PROJECTIONS if getattr(sites, site) for path in matching(model, getattr(sites, site))}
    assert {path for path in inside - named if not path.endswith(FUSED)} == set()
    assert named <= inside
    fused = {path for path in inside if sites.fused and path.endswith(f".{sites.fused}")}
    assert len(fused) == (3 if sites.fused else 0)
    assert inside == named | fused
    assert sites.linears is None if kind in MIXTURES else set(matching(model, sites.linears)) == inside
    assert not fused or set(matching(model, sites.fused_projection)) == fused


@pytest.mark.parametrize("kind", SITES)
def test_blocks_are_numbered_by_the_first_group_from_the_encoders_to_the_decoders(
    kind: str, models: dict[str, nn.Module]
) -> None:
    paths = matching(models[kind], SITES[kind].block)
    stacks = 2 if SITES[kind].family == "seq2seq" else 1
    assert [int(re.fullmatch(SITES[kind].block, path)[1]) for path in paths] == [0, 1, 2] * stacks  # type: ignore[index]
    if stacks == 2:
        assert ["encoder" in path for path in paths] == [True] * 3 + [False] * 3


@pytest.mark.parametrize("kind", SITES)
def test_projections_are_distinguished_by_their_shapes(kind: str, models: dict[str, nn.Module]) -> None:
    """Up widens, down narrows, the others go between the model's width and the heads'; none is two sites at once."""
    sites, shapes, seen = SITES[kind], {}, set()
    for name in set(PROJECTIONS) - ABSENT.get(kind, set()):
        actual = matching(models[kind], getattr(sites, name))
        shapes[name] = {(width(models[kind], m, "in"), width(models[kind], m, "out")) for m in actual.values()}
        assert not seen & set(actual)
        seen |= set(actual)
    queries, keys = HEADS.get(kind, (8, 8))
    expected = {"query": (8, queries), "key": (8, keys), "value": (8, keys), "attention_output": (queries, 8)}
    made, read = INNER.get(kind, (12, 12))
    expected |= {"ffn_up": (8, made), "ffn_gate": (8, 12), "ffn_down": (read, 8)}
    assert shapes == {name: {shape} for name, shape in expected.items() if name in shapes}


@pytest.mark.parametrize("kind", SITES)
def test_every_leaf_is_called_and_exactly_the_sites_called_twice_are_declared_repeated(
    kind: str, models: dict[str, nn.Module], backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = backbones.get(kind) or (str(make_backbone(tmp_path / kind, kind)) if kind in ENCODERS else None)
    model = fresh_copy(folder).model if folder else models[kind]
    leaves = {
        site: list(matching(model, getattr(SITES[kind], site)).values())
        for site in (*PROJECTIONS, "sublayer_output")
        if site not in ABSENT.get(kind, set())
    }
    calls: Counter[nn.Module] = Counter()

    def count(host: nn.Module, args: object, out: Tensor) -> None:
        calls[host] += 1
        assert out.shape[-1] == width(model, host, "out")

    for host in {host for hosts in leaves.values() for host in hosts}:
        host.register_forward_hook(count)
    decoder = {"decoder_input_ids": torch.tensor([[0, 5]])} if SITES[kind].family == "seq2seq" else {}
    with torch.no_grad():
        model(input_ids=torch.tensor([[2, 5, 6, 3]]), **decoder)
    assert {site for site, hosts in leaves.items() if not all(calls[host] for host in hosts)} == set()
    repeated = {site for site, hosts in leaves.items() if any(calls[host] > 1 for host in hosts)}
    assert repeated == SITES[kind].repeated - {"block", "ffn_output"}


@pytest.mark.parametrize(("kind", "names"), [("gated-gelu", {"wi_1"}), ("relu", {"wi"})])
def test_of_a_t5_ffn_up_is_the_projection_without_the_gates_activation(kind: str, names: set[str]) -> None:
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(
            AutoConfig.for_model("t5", **SMALL["t5"] | {"feed_forward_proj": kind})
        )
    assert {path.rsplit(".", 1)[1] for path in matching(model, SITES["t5"].ffn_up)} == names
    assert len(matching(model, SITES["t5"].ffn_up)) == 6


def test_impossible_records_are_refused() -> None:
    known: dict[str, Any] = dict.fromkeys(REGEXES, "x")
    with pytest.raises(ValueError, match=r"repeated names sites, got \['kee'\]"):
        Sites(**known, repeated=frozenset({"kee"}))
    with pytest.raises(ValueError, match="pooling must be pooler, first or mean, got 'max'"):
        Sites(**known, pooling="max")
    with pytest.raises(ValueError, match="family must be encoder, decoder or seq2seq, got 'gpt'"):
        Sites(**known, family="gpt")


def test_a_known_architecture_gives_its_record() -> None:
    assert sites_for("bert") is SITES["bert"]
    with pytest.raises(KeyError, match="no sites record"):
        sites_for("llama7")
