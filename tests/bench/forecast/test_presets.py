"""Configurations by name and from files, and fake models of their shape."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor
from transformers import AutoConfig

from tunefront.bench.errors import UserError
from tunefront.bench.forecast.presets import config_of, fake_model, faking, presets

NAMES = sorted({preset.name for preset in presets().values()})


def bert(config: Any) -> int:
    """Embeddings and blocks; biases everywhere, two norms a block and one over the embeddings."""
    d, inner = config.hidden_size, config.intermediate_size
    tables = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    block = 4 * (d * d + d) + (d * inner + inner) + (inner * d + d) + 2 * 2 * d
    pooler = d * d + d if config.model_type == "bert" else 0
    return tables * d + 2 * d + config.num_hidden_layers * block + pooler


def t5(config: Any) -> int:
    """Version 1.1: no biases, scales for norms, a gated feed-forward, two vocabulary matrices, relative positions."""
    d, inner, keys = config.d_model, config.d_ff, config.d_kv * config.num_heads
    attention, feed_forward = 4 * d * keys + d, 3 * d * inner + d
    layers = config.num_layers * (attention + feed_forward) + config.num_decoder_layers * (2 * attention + feed_forward)
    return 2 * config.vocab_size * d + layers + 2 * d + 2 * config.relative_attention_num_buckets * config.num_heads


def gpt2(config: Any) -> int:
    """Biases everywhere, two norms a block and one at the end, the output layer tied."""
    d = config.n_embd
    block = 12 * d * d + 13 * d
    return (config.vocab_size + config.n_positions) * d + config.n_layer * block + 2 * d


def opt(config: Any) -> int:
    """Like GPT-2, with two unused extra rows of positions."""
    d, inner = config.hidden_size, config.ffn_dim
    block = 4 * (d * d + d) + (d * inner + inner) + (inner * d + d) + 4 * d
    return (config.vocab_size + config.max_position_embeddings + 2) * d + config.num_hidden_layers * block + 2 * d


def gated(config: Any) -> int:
    """Llama and similar models: fewer keys than queries, an untied output layer."""
    d, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or d // heads
    queries, keys = heads * head, config.num_key_value_heads * head
    block = d * queries + 2 * d * keys + queries * d + 3 * d * inner + 2 * d
    block += {"qwen2": queries + 2 * keys, "qwen3": 2 * head}.get(config.model_type, 0)  # biases; norms of the heads
    return 2 * config.vocab_size * d + config.num_hidden_layers * block + d


FORMULAS = {"bert": bert, "roberta": bert, "t5": t5, "gpt2": gpt2, "opt": opt}


def size(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_the_parameters_of_its_formula_and_of_the_paper(name: str) -> None:
    preset, config = presets()[name], config_of(name)
    params = size(fake_model(config))
    assert params == FORMULAS.get(preset.model_type, gated)(config)
    assert preset.params in (None, params)
    printed = preset.printed.removesuffix("B").removesuffix("M")
    if preset.printed != printed:  # small, base and large are not numbers
        assert params == pytest.approx(float(printed) * (1e9 if "B" in preset.printed else 1e6), rel=0.06)


def test_only_gpt3_has_no_public_checkpoint_to_compare_with() -> None:
    assert [name for name in NAMES if presets()[name].params is None] == ["gpt3-13b", "gpt3-175b", "gpt3-6.7b"]


def test_the_printed_width_of_gpt3_13b_makes_no_model() -> None:
    with pytest.raises(UserError, match="5140"):
        fake_model(type(config_of("gpt3-13b"))(n_layer=40, n_embd=5140, n_head=40))


@pytest.mark.parametrize(("alias", "name"), [("t0-3b", "t5-v1.1-xl"), ("t0-11b", "t5-v1.1-xxl")])
def test_t0_has_the_sizes_of_t5_v1_1(alias: str, name: str) -> None:
    assert presets()[alias] == presets()[name]


def test_a_fake_model_takes_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = fake_model(config_of("gpt3-175b"))
    assert all(isinstance(tensor, FakeTensor) for tensor in [*model.parameters(), *model.buffers()])
    assert {tensor.device.type for tensor in model.parameters()} == {"cpu"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB, of 700 GB


@pytest.mark.parametrize("name", ["bert-base", "t5-v1.1-small", "gpt2", "opt-1.3b", "mistral-7b"])
def test_a_fake_model_runs_under_its_mode(name: str) -> None:
    config = config_of(name)
    model = fake_model(config)
    with faking(model), torch.no_grad():
        ids = torch.zeros((2, 7), dtype=torch.long)
        more = {"decoder_input_ids": ids[:, :3]} if config.is_encoder_decoder else {}
        out = model(input_ids=ids, **more)[0]
    width = config.hidden_size if name == "bert-base" else config.vocab_size
    assert out.shape == (2, 3 if more else 7, width)


def test_modules_made_for_a_fake_model_are_fake() -> None:
    model = fake_model(config_of("gpt2"))
    with faking(model):
        layer = torch.nn.Linear(3, 5).to(device="cpu", dtype=torch.float32)
        assert isinstance(layer(torch.zeros(2, 3)), FakeTensor)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        *(("uniform_", ()), ("normal_", ()), ("constant_", (2.0,)), ("ones_", ()), ("zeros_", ()), ("eye_", ())),
        *(("xavier_uniform_", ()), ("xavier_normal_", ()), ("kaiming_uniform_", ()), ("kaiming_normal_", ())),
        *(("orthogonal_", ()), ("sparse_", (0.5,))),
        *(("trunc_normal_", ()), ("trunc_normal_", (3.0, 0.001, 3.0, 3.1))),  # both cases in which it draws again
    ],
)
def test_every_initialiser_accepts_fake_tensors_and_fills_real_ones(name: str, args: tuple[float, ...]) -> None:
    initialise = getattr(torch.nn.init, name)
    with faking(fake_model(config_of("gpt2"))):
        assert isinstance(initialise(torch.nn.Parameter(torch.empty(6, 4)), *args), FakeTensor)
        assert initialise is getattr(torch.nn.init, name)
    assert initialise(torch.empty(6, 4), *args).isfinite().all()


def test_output_layers_are_tied_where_the_checkpoints_are() -> None:
    tied = {}
    for name, fields in {
        "t5": {"model_type": "t5", "d_model": 32, "num_layers": 1, "num_heads": 2, "d_kv": 16, "d_ff": 64},
        "v1.1": {"model_type": "t5", "d_model": 32, "num_layers": 1, "tie_word_embeddings": False},
        "mt5": {"model_type": "mt5", "d_model": 32, "num_layers": 1, "num_heads": 2, "d_kv": 16, "d_ff": 64},
        "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2},
    }.items():
        model = fake_model(AutoConfig.for_model(**fields))
        tied[name] = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == {"t5": True, "v1.1": False, "mt5": False, "gpt2": True}


@pytest.mark.parametrize("name", ["t5-v1.1-small", "llama-3.1-8b", "roberta-base"])
def test_a_folder_and_its_config_json_give_the_saved_configuration(name: str, tmp_path: Path) -> None:
    config_of(name).save_pretrained(tmp_path)
    for path in (tmp_path, tmp_path / "config.json"):
        assert size(fake_model(config_of(str(path)))) == presets()[name].params


def test_a_pooler_that_no_head_reads_is_left_out() -> None:
    assert fake_model(config_of("roberta-base")).pooler is None
    assert fake_model(config_of("bert-base")).pooler is not None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "names no model_type"),
        ('{"model_type": 3}', "names no model_type"),
        ('{"model_type": "mamba"}', r"no sites record for .*'mamba'; known: albert,(?s:.*)SITES\[.mamba"),
        ('{"model_type": "bert", "auto_map": {"AutoModel": "mine.Model"}}', "which is never run"),
        ('{"model_type": "bert", "hidden_size": "wide"}', 'hidden_size is "wide", and must be a whole number'),
        ('{"model_type": "bert", "hidden_dropout_prob": "some"}', "cannot be used: .*hidden_dropout_prob"),
    ],
)
def test_the_error_of_a_wrong_configuration_names_its_file(content: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=complaint) as caught:
        config_of(str(tmp_path))
    assert str(path) in str(caught.value)


TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
WHOLE = "and must be a whole number from"


def written(folder: Path, **fields: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": "bert", **fields}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"hidden_size": 30}, "the width, 30, is not a multiple of num_attention_heads, 4"),
        ({"hidden_size": -32}, f"hidden_size is -32, {WHOLE} 1 to 1,000,000"),
        ({"num_hidden_layers": -2}, f"num_hidden_layers is -2, {WHOLE} 1 to 1,000[.]"),
        ({"num_hidden_layers": 2_000_000}, f"num_hidden_layers is 2,000,000, {WHOLE} 1 to 1,000[.]"),
        ({"num_hidden_layers": True}, f"num_hidden_layers is true, {WHOLE}"),
        ({"num_hidden_layers": 2.0}, f"num_hidden_layers is 2.0, {WHOLE}"),
        ({"vocab_size": 10**50}, rf"vocab_size is 1000*0 \.\.\., {WHOLE}"),
        ({"max_position_embeddings": 0, "vocab_size": 0}, "vocab_size is 0, .*; max_position_embeddings is 0"),
        ({"type_vocab_size": 0}, "type_vocab_size is 0"),
        ({"hidden_act": "none such"}, "hidden_act is 'none such', which transformers does not know"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "has a quantization_config, .*not in gptq"),
        ({"model_type": "gpt2", "n_layer": 0}, "n_layer is 0"),
        ({"model_type": "gpt2", "n_layer": -1}, "n_layer is -1"),
        ({"model_type": "bart", "encoder_layers": -1}, "encoder_layers is -1"),
        ({"model_type": "bart", "decoder_attention_heads": 5}, "not a multiple of decoder_attention_heads, 5"),
        ({"model_type": "t5", "d_kv": 0}, "d_kv is 0"),
        ({"model_type": "t5", "feed_forward_proj": "gated-odd"}, "feed_forward_proj or dense_act_fn is 'odd'"),
        ({"model_type": "llama", "num_hidden_layers": -3}, "num_hidden_layers is -3"),
        ({"model_type": "llama", "num_key_value_heads": 3}, "num_key_value_heads is 3, which does not divide the 4"),
        ({"model_type": "llama", "num_key_value_heads": 8}, "num_key_value_heads is 8, which does not divide the 4"),
        ({"model_type": "llama", "rope_scaling": {"rope_type": "odd"}}, "rope_scaling.: rope_type is 'odd'"),
        ({"model_type": "gpt_neox", "rotary_pct": 9}, "rotary_pct is 9, and must be a fraction"),
        ({"model_type": "gpt_neox", "rope_parameters": {"partial_rotary_factor": 0}}, "partial_rotary_factor is 0"),
    ],
)
def test_the_error_of_invalid_fields_names_their_file(fields: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    path = written(tmp_path, **{**TINY, **fields})
    with pytest.raises(UserError, match=complaint) as caught:
        fake_model(config_of(path))
    assert path in str(caught.value)


def test_fields_without_effect_on_a_plan_are_ignored(tmp_path: Path) -> None:
    more = {
        "num_labels": 10**9,
        "id2label": {"0": "no"},
        "return_dict": False,
        "chunk_size_feed_forward": 3,
        "output_attentions": True,
        "to_dict": 1,
        "dtype": "none such",
    }
    config, plain = (config_of(written(tmp_path, **TINY, **fields)).to_dict() for fields in (more, {}))
    assert config == plain


@pytest.mark.parametrize(
    "fields",
    [
        {"_attn_implementation": "evil/kernel"},
        {"attn_implementation": "evil/kernel"},
        {"_attn_implementation_internal": "evil/kernel"},
        {"attn_implementation": {"": "evil/kernel"}},
        {"sub": {"_attn_implementation": "evil/kernel"}},
    ],
)
def test_no_kernel_that_a_file_names_is_fetched(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[object] = []
    monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", lambda *args, **_: fetched.append(args))
    config = config_of(written(tmp_path, **TINY, **fields))
    assert "evil" not in str(vars(config))
    assert fake_model(config).config._attn_implementation == "sdpa"
    assert fetched == []


def test_no_kernel_that_a_configuration_names_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[object] = []
    monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", lambda *args, **_: fetched.append(args))
    model = fake_model(AutoConfig.for_model("bert", **TINY, attn_implementation="evil/kernel"))
    assert model.config._attn_implementation == "sdpa"
    assert fetched == []


def test_an_unknown_name_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no preset 'bert-bas'; did you mean 'bert-base'\?.*path of a config\.json"):
        config_of("bert-bas")
    with pytest.raises(UserError, match=r"has no config\.json"):
        config_of(str(tmp_path))
