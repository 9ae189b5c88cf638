"""Further decoders: every method on every record, sizes by formula, and where sublayers and fused parts are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.toys import encode, fresh_copy, harness, pair_id, shake, shipped, toy_task
from tunefront.bench.models.tiny import LANGUAGE_MODELS, MORE_LANGUAGE_MODELS
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.ia3 import IA3, RescaleKeysValues
from tunefront.methods.inject import fused_layouts, matching, merged_plugs
from tunefront.methods.lora import LoRA, QueryValue
from tunefront.methods.sites.fused import Fused
from tunefront.methods.spelling import parse

DECODERS = [name for name, family in MORE_LANGUAGE_MODELS.items() if family == "decoder"]
OLD_DECODERS = [name for name, family in LANGUAGE_MODELS.items() if family == "decoder"]
MIXTURES = ("qwen3_moe", "mixtral")
FUSED = {  # heads of queries and of keys, each of width 8, and whether a head of keys and its queries lie together
    "phi3": (4, 2, False),
    "falcon": (4, 1, True),
    "falcon-grouped": (4, 2, True),
    "falcon-rw": (4, 4, True),
    "bloom": (4, 4, True),
}
NO_LEAD = {"cartridge", "prefix_tuning", "prompt_tuning"}
NO_LAYERS = {"houlsby", "pfeiffer", "compacter", "compacter_pp", "parallel_adapter", "ia3", "scaling"}
REASONS = {
    **dict.fromkeys(("gemma2", "gptj"), (NO_LEAD, "attention implementation")),
    **dict.fromkeys(("falcon", "falcon-grouped"), (NO_LEAD, "keyword arguments")),
    **dict.fromkeys(("falcon-rw", "bloom"), (NO_LEAD, "positions and masks")),
    **dict.fromkeys(MIXTURES, (NO_LAYERS, "experts of its feed-forward are stacked tensors")),
}
"""Methods that an architecture does not take, and a part of the reason; `bitfit` needs biases besides."""
BIASES = ("phi", "gptj", "falcon", "falcon-grouped", "falcon-rw", "bloom")
WITHIN = 1e-5
TOY = toy_task(rows=(8, 4))


@pytest.fixture(scope="module")
def decoders(language_models: dict[str, str], more_language_models: dict[str, str]) -> dict[str, str]:
    return language_models | more_language_models


@pytest.mark.parametrize("method", shipped(), ids=pair_id)
@pytest.mark.parametrize("name", DECODERS)
def test_a_method_runs_or_says_why_not(name: str, method: Method, decoders: dict[str, str]) -> None:
    backbone = fresh_copy(decoders[name], TOY)
    without, reason = REASONS.get(name, (set(), ""))
    if method.name == "bitfit" and name not in BIASES:
        without, reason = {"bitfit"}, "no layer of the backbone has a bias"
    if method.name in without:
        with pytest.raises(Unsupported, match=reason):
            method.attach(backbone)
        return
    method.attach(backbone)
    trainer = harness(backbone, method, counted=False, steps=1, learning_rate=0.01)
    before = {key: value.detach().clone() for key, value in backbone.trainable().items()}
    scorer = method.fit(backbone, encode(backbone, TOY), trainer)
    scores = trainer.score(scorer, encode(backbone, TOY, "test")).values
    assert scores.shape == (4, 2)
    assert scores.isfinite().all()
    after = backbone.trainable()
    kept = before.keys() & after.keys()  # training may leave other tensors
    assert not kept or any(not torch.equal(before[key], after[key]) for key in kept)


# Sizes


def widths(name: str) -> tuple[int, int, int, int]:
    """The widths of queries and of keys, what `ffn_up` makes and what `ffn_down` reads."""
    queries = 48 if name.startswith("qwen3") else 24 if name.startswith("gemma") else 32
    keys = {"phi": 32, "gptj": 32, "qwen3": 24, "qwen3_moe": 24}.get(name, 12 if name.startswith("gemma") else 16)
    if name in FUSED:
        keys = 8 * FUSED[name][1]
    inner = 128 if name == "bloom" else 64
    return queries, keys, 128 if name == "phi3" else inner, inner


def norms(name: str) -> int:
    """The size of all norms: the final one, two blocks' and the embedding's; with biases where they are layer norms."""
    queries, keys, *_ = widths(name)
    one_norm, four_norms = {"phi", "gptj", "falcon", "cohere", "cohere2"}, {"gemma2", "gemma3_text"}
    in_block = 32 * (1 if name in one_norm else 4 if name in four_norms else 2)
    of_heads = {"gemma3_text": 2 * 12, "qwen3": 2 * 12, "qwen3_moe": 2 * 12, "phi": 2 * 16}  # of queries, of keys
    of_heads |= dict.fromkeys(("olmo2", "cohere"), queries + keys)
    in_block += of_heads.get(name, 0)
    biased = 2 if name in BIASES else 1
    return biased * (2 * in_block + 32 + (32 if name == "bloom" else 0))


def trained(method: Method, folder: str) -> int:
    backbone = fresh_copy(folder)
    method.attach(backbone)
    assert backbone.head is None
    return sum(parameter.numel() for parameter in backbone.trainable().values())


@pytest.mark.parametrize("name", DECODERS)
def test_trained_parameters_are_as_many_as_the_formulas_say(name: str, decoders: dict[str, str]) -> None:
    folder, (queries, keys, made, read) = decoders[name], widths(name)
    assert trained(parse("layernorm"), folder) == norms(name)
    assert trained(parse("lora:rank=3"), folder) == 2 * 3 * (32 + queries + 32 + keys)
    if name in MIXTURES:
        return
    assert trained(parse("ia3"), folder) == 2 * (2 * keys + read)
    assert trained(parse("houlsby:bottleneck=5"), folder) == 2 * 2 * (2 * 5 * 32 + 32 + 5) + norms(name)
    gates = 0 if name in ("phi", "phi3", "gptj", *FUSED) else 1
    attention = (32 + queries + 2 * keys) if name in FUSED else (32 + queries + 2 * (32 + keys))
    every = attention + queries + 32 + (1 + gates) * (32 + made) + read + 32
    assert trained(parse("lora:rank=3,sites=every"), folder) == 2 * 3 * every


# Where sublayers end


@pytest.mark.parametrize("name", [*OLD_DECODERS, *(name for name in DECODERS if name not in MIXTURES)])
def test_what_an_adapter_follows_precedes_the_residual_sum(name: str, decoders: dict[str, str]) -> None:
    """Without the outputs of its sublayers a block passes on what it reads; without its feed-forward's alone it does
    not."""
    backbone = fresh_copy(decoders[name])
    model, sites = backbone.model.eval(), backbone.sites
    blocks = list(matching(model, sites.block).values())
    read: list[Tensor] = []
    made: list[Tensor] = []
    for block in blocks:
        block.register_forward_pre_hook(
            lambda module, args, kwargs: read.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
        )
        block.register_forward_hook(
            lambda module, args, output: made.append(output if isinstance(output, Tensor) else output[0])
        )
    hooks = [
        host.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
        for host in matching(model, sites.sublayer_output).values()
    ]
    with torch.no_grad():
        model(input_ids=torch.tensor([[5, 6, 7, 8]]))
        assert len(read) == len(made) == 2
        assert all(torch.equal(before, after) for before, after in zip(read, made, strict=True))
        for hook in hooks:
            hook.remove()
        for host in matching(model, sites.ffn_output).values():
            host.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
        model(input_ids=torch.tensor([[5, 6, 7, 8]]))
    assert not any(torch.equal(before, after) for before, after in zip(read[2:], made[2:], strict=True))


# Fused projections


def columns(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Of queries, keys and values, as the code of each architecture splits them."""
    heads, keys, grouped = FUSED[name]
    places = torch.arange((heads + 2 * keys) * 8)
    if not grouped:
        return places[: heads * 8], places[heads * 8 : (heads + keys) * 8], places[(heads + keys) * 8 :]
    by_group = places.view(keys, heads // keys + 2, 8)
    return by_group[:, :-2].flatten(), by_group[:, -2].flatten(), by_group[:, -1].flatten()


@pytest.mark.parametrize("name", FUSED)
def test_a_layout_is_inferred_from_shapes(name: str, decoders: dict[str, str]) -> None:
    backbone = fresh_copy(decoders[name])
    layouts = fused_layouts(backbone.model, backbone.sites)
    assert len(layouts) == 2
    for layout in layouts.values():
        places = torch.arange(layout.queries + 2 * layout.keys)
        expected = columns(name)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(layout.split(places), expected, strict=True))
        assert torch.equal(layout.join(*expected), places)
        rows = [part[:, None].expand(-1, 3) for part in expected]
        assert torch.equal(layout.join(*rows, dim=0), places[:, None].expand(-1, 3))


@pytest.mark.parametrize(("outputs", "queries", "heads"), [(24, 8, 3), (23, 8, 2), (8, 8, 2), (14, 8, 2), (26, 12, 3)])
def test_shapes_that_are_no_layout_are_refused(outputs: int, queries: int, heads: int) -> None:
    with pytest.raises(ValueError, match=f"{outputs} outputs"):
        Fused.of(outputs, queries, heads, by_head=True)


def attended(backbone: Any) -> list[Tensor]:
    """What the output projections of attention read."""
    seen: list[Tensor] = []
    hosts = matching(backbone.model, backbone.sites.attention_output).values()
    hooks = [host.register_forward_pre_hook(lambda module, args: seen.append(args[0])) for host in hosts]
    with torch.no_grad():
        backbone.model.eval()(input_ids=torch.tensor([[5, 6, 7, 8, 9]]))
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", *FUSED])
def test_ia3_rescales_the_keys_and_the_values_of_a_fused_projection(name: str, decoders: dict[str, str]) -> None:
    """Values of zero leave nothing to attend to. Keys of zero make every score that of a query of zero."""
    backbone = fresh_copy(decoders[name])
    untouched = attended(backbone)
    IA3().attach(backbone)
    assert all(map(torch.equal, attended(backbone), untouched)), "it starts as the identity"
    plugs = [module for module in backbone.model.modules() if isinstance(module, RescaleKeysValues)]
    assert len(plugs) == 2
    with torch.no_grad():
        for plug in plugs:
            plug.scale[: len(plug.scale) // 2] = 0
        without_keys = attended(backbone)
        for plug in plugs:
            plug.scale[:] = torch.arange(len(plug.scale)) < len(plug.scale) // 2
        without_values = attended(backbone)
        for plug in plugs:
            plug.scale[:] = 1
        for host, layout in fused_layouts(backbone.model, backbone.sites).items():
            kept = layout.join(torch.zeros(layout.queries), torch.ones(layout.keys), torch.ones(layout.keys))
            host.weight *= kept if host.weight.shape[1] == len(kept) and name == "gpt2" else kept[:, None]
            if host.bias is not None:
                host.bias *= kept
        without_queries = attended(backbone)
    assert not any(part.any() for part in without_values)
    assert torch.allclose(without_keys[0], without_queries[0], atol=WITHIN)
    assert not torch.allclose(without_keys[0], untouched[0], atol=1e-2)


def test_an_encoders_fused_projection_has_thirds(more_backbones: dict[str, str]) -> None:
    backbone = fresh_copy(more_backbones["modernbert"])
    untouched = attended(backbone)
    IA3().attach(backbone)
    assert set(fused_layouts(backbone.model, backbone.sites).values()) == {Fused(1, 32, 32)}
    assert all(map(torch.equal, attended(backbone), untouched))
    for plug in backbone.model.modules():
        if isinstance(plug, RescaleKeysValues):
            plug.scale.data[32:] = 0
    assert not any(part.any() for part in attended(backbone))


@pytest.mark.parametrize("spelled", ["ia3", "lora:rank=3", "lora:rank=3,sites=every"])
@pytest.mark.parametrize("name", FUSED)
def test_what_a_fused_projection_gets_merges_exactly(name: str, spelled: str, decoders: dict[str, str]) -> None:
    backbone = fresh_copy(decoders[name])
    parse(spelled).attach(backbone)
    before = attended(backbone)
    shake(backbone.trainable(), 0.3)
    changed = attended(backbone)
    with merged_plugs(backbone.model) as count:
        assert count
        merged = attended(backbone)
    assert all(torch.allclose(*pair, rtol=1e-4, atol=1e-4) for pair in zip(changed, merged, strict=True))
    assert not torch.allclose(before[0], changed[0], atol=1e-2)


@pytest.mark.parametrize("name", FUSED)
def test_lora_changes_the_queries_and_the_values_of_a_fused_projection(name: str, decoders: dict[str, str]) -> None:
    backbone = fresh_copy(decoders[name])
    LoRA(rank=3).attach(backbone)
    shake(backbone.trainable())
    queries, keys, values = columns(name)
    plugs = [module for module in backbone.model.modules() if isinstance(module, QueryValue)]
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for plug in plugs:
            update = plug(x)
            assert torch.equal(update[:, queries], plug.query(x))
            assert torch.equal(update[:, values], plug.value(x))
            assert not update[:, keys].any()
            down, up = plug.factors
            assert torch.allclose(update, x @ down.T @ up.T * plug.query.scale, atol=WITHIN)


@pytest.mark.parametrize("name", ["gpt2", "phi3"])
def test_peft_has_no_form_for_a_part_of_an_output(name: str, decoders: dict[str, str]) -> None:
    backbone = fresh_copy(decoders[name])
    IA3().attach(backbone)
    with pytest.raises(Unsupported, match=f"{name} has keys and values in a part of one"):
        IA3().exported("peft", backbone)


# Mixtures


def test_dense_layers_among_experts_run(tmp_path: Any) -> None:
    """Their feed-forwards are layers, but no site: a method would train some blocks and not others."""
    from tunefront.bench.models.tiny import make_language_model

    folder = str(make_language_model(tmp_path / "model", "qwen3_moe", mlp_only_layers=[0]))
    for spelled in ("lora:rank=2", "top_layers:n=1", "layernorm"):
        backbone, method = fresh_copy(folder, TOY), parse(spelled)
        assert isinstance(backbone.model.get_submodule("model.layers.0.mlp.up_proj"), nn.Linear)
        method.attach(backbone)
        trainer = harness(backbone, method, steps=1)
        method.fit(backbone, encode(backbone, TOY), trainer)
    with pytest.raises(Unsupported, match="experts"):
        IA3().attach(fresh_copy(folder, TOY))


@pytest.mark.parametrize("name", MIXTURES)
def test_ia3_of_peft_needs_a_layer_after_the_inner_activation(name: str, decoders: dict[str, str]) -> None:
    pytest.importorskip("peft")
    with pytest.raises(Unsupported, match="experts of its feed-forward are stacked tensors"):
        parse("peft:type=IA3").attach(fresh_copy(decoders[name]))
