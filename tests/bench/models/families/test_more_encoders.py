"""Further encoders against plain transformers: pooled states, alone and padded, and after leads; parameter counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tests.bench.models.families.leading import Keys, lead_keys, lead_prompts
from tests.bench.models.routing.members import assert_as_alone, fit_once, mixed
from tests.toys import attach, encode, fresh_copy, shake, toy_task, widened
from tunefront.bench.models.config import block_count
from tunefront.bench.models.families.encoder import first_position
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.tiny import MORE_FAMILIES, make_backbone
from tunefront.methods.base import Unsupported
from tunefront.methods.inject import matching, merged_plugs, without_plugs
from tunefront.methods.spelling import parse

WITH_LEADS = [name for name in MORE_FAMILIES if name != "mpnet"]
N = 3
"""Embeddings, or keys and values, in a lead."""


def pooled_by_hand(output: Any, pooling: str, first: int = 0) -> Tensor:
    """The pooled state (width,) of one row without padding, whose real tokens start at `first`."""
    if pooling == "pooler":
        return output.pooler_output[0]
    states = output.last_hidden_state[0, first:]
    return states[0] if pooling == "first" else states.mean(0)


@pytest.mark.parametrize("pooling", ["published", "mean", "first"])
@pytest.mark.parametrize("name", MORE_FAMILIES)
def test_pooled_states_equal_plain_transformers(name: str, pooling: str, more_backbones: dict[str, str]) -> None:
    """Rows of 3 to 40 words in one padded batch, wider than ModernBERT's window, and each one alone."""
    backbone: Any = fresh_copy(more_backbones[name])
    if pooling != "published":
        backbone.pooling = pooling
    plain = AutoModel.from_pretrained(more_backbones[name]).eval()
    rows = encode(backbone, toy_task(words=(1, 40)))
    assert len(set(rows.lengths[:8])) > 4
    with torch.no_grad():
        together = backbone.features(rows.batch(range(8)))
        for row in range(8):
            batch = rows.batch([row])
            expected = pooled_by_hand(plain(**batch.inputs), backbone.pooling)
            assert torch.allclose(together[row], expected, rtol=0, atol=1e-5)
            assert torch.allclose(backbone.features(widened(batch, rows, 30))[0], expected, rtol=0, atol=1e-5)


def test_a_record_says_what_the_published_head_reads(more_backbones: dict[str, str], tmp_path: Any) -> None:
    device = torch.device("cpu")
    poolings = {name: Pretrained(folder, device).pooling for name, folder in more_backbones.items()}
    assert poolings == dict.fromkeys(MORE_FAMILIES, "first") | {"albert": "pooler", "albert-groups": "pooler"}
    mean = make_backbone(tmp_path / "modernbert", "modernbert", classifier_pooling="mean")
    assert Pretrained(str(mean), device).pooling == "mean"


@pytest.mark.parametrize("name", ["albert", "electra", "mpnet", "xlm-roberta"])
def test_rows_are_cut_at_the_last_position(name: str, tmp_path: Any) -> None:
    """Positions that start after the padding index are fewer than the table's rows."""
    first = {"mpnet": 2, "xlm-roberta": 2}.get(name, 0)
    backbone: Any = fresh_copy(str(make_backbone(tmp_path / name, name, max_position_embeddings=20)))
    assert first_position(backbone.model.config) == first
    rows = encode(backbone, toy_task(words=(30, 40)))
    assert set(rows.lengths) == {20 - first}
    with torch.no_grad():
        assert backbone.features(rows.batch(range(4))).isfinite().all()


@pytest.mark.parametrize("name", WITH_LEADS)
def test_pooling_reads_real_tokens_after_a_prompt(name: str, more_backbones: dict[str, str]) -> None:
    backbone: Any = fresh_copy(more_backbones[name])
    plain: Any = AutoModel.from_pretrained(more_backbones[name]).eval()
    prompt = lead_prompts(backbone, N)
    assert prompt.prompts["encoder"].shape == (N, 16 if name in ("electra", "albert") else 32)
    rows = encode(backbone)
    with torch.no_grad():
        together = backbone.features(rows.batch(range(6)))
        for row in range(6):
            inputs = rows.batch([row]).inputs
            ids = inputs.pop("input_ids")
            embedded = torch.cat([prompt.prompts["encoder"][None], plain.get_input_embeddings()(ids)], dim=1)
            others = {
                key: nn.functional.pad(value, (N, 0), value=key == "attention_mask") for key, value in inputs.items()
            }
            output = plain(inputs_embeds=embedded, **others)
            if backbone.pooling == "pooler":
                expected = plain.pooler_activation(plain.pooler(output.last_hidden_state[0, N]))
            else:
                expected = pooled_by_hand(output, backbone.pooling, N)
            assert torch.allclose(together[row], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", WITH_LEADS)
def test_every_call_of_an_attention_reads_the_keys_of_its_lead(
    name: str, more_backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against plain algebra in place of transformers' attention; a local window hides no key of a lead."""
    backbone: Any = fresh_copy(more_backbones[name])
    plain: Any = AutoModel.from_pretrained(more_backbones[name]).eval()
    module: Keys = lead_keys(backbone, N)
    led = {plain.get_submodule(path): states for path, states in module().items()}
    calls = []

    def algebra(attention: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **_: Any) -> Any:
        calls.append(attention)
        before, values = led[attention]
        scores = query @ torch.cat([before, key], dim=2).mT * query.shape[-1] ** -0.5
        scores[..., N:] += 0 if mask is None else mask
        mixed = scores.softmax(-1) @ torch.cat([values, value], dim=2)
        return mixed.transpose(1, 2).contiguous(), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "algebra", algebra)
    monkeypatch.setitem(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, "algebra", eager_mask)
    plain.config._attn_implementation = "algebra"
    rows = encode(backbone)
    with torch.no_grad():
        together = backbone.features(rows.batch(range(4)))
        for row in range(4):
            inputs = rows.batch([row]).inputs
            places = torch.arange(inputs["input_ids"].shape[1])[None] + N + first_position(plain.config)
            expected = pooled_by_hand(plain(**inputs, position_ids=places), backbone.pooling)
            assert torch.allclose(together[row], expected, rtol=0, atol=1e-5)
    assert len(calls) == 4 * {"albert": 3, "albert-groups": 8, "modernbert": 3}.get(name, 2)


def test_an_attention_of_its_own_takes_no_lead(more_backbones: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match=r"mpnet has its own attention implementation \(eager\)"):
        lead_prompts(fresh_copy(more_backbones["mpnet"]), N)


ROUTED = ("houlsby:bottleneck=4", "parallel_adapter:bottleneck=4,sublayers=both", "bitfit:missing=add", "lora:rank=2")


@pytest.mark.parametrize("name", ["xlm-roberta", "albert", "albert-groups", "mpnet", "modernbert", "nomic_bert"])
def test_a_mixed_batch_scores_as_each_member_alone(name: str, more_backbones: dict[str, str]) -> None:
    folder = more_backbones[name]
    leads = () if name == "mpnet" else ("prompt_tuning:length=3", "prefix_tuning:length=4", "prompt_tuning:length=5")
    fitted = [fit_once(parse(method), folder, None, seed % 3) for seed, method in enumerate((*ROUTED, *leads))]
    router, rows = mixed(fitted, folder)
    assert_as_alone(fitted, router.score_all(rows, 16))


D, F, M, R = 32, 64, 4, 2
"""The widths of the tiny models and of their feed-forward, and the bottleneck and the rank of the methods."""
BLOCKS = {"albert": 1, "albert-groups": 4, "modernbert": 3}
"""Blocks with weights of their own; the others have two."""


def norm_parameters(name: str) -> int:
    """All layer norms: two a block and one more, of the embeddings or after the last block."""
    blocks = BLOCKS.get(name, 2)
    if name == "modernbert":  # without biases; the first attention has none, and both ends have one
        return D * (2 * blocks - 1 + 2)
    embedding = 16 if name in ("electra", "albert") else D
    return 2 * embedding + 2 * D * 2 * blocks


@pytest.mark.parametrize("name", MORE_FAMILIES)
def test_parameters_are_counted_once_where_layers_share_them(name: str, more_backbones: dict[str, str]) -> None:
    blocks, head = BLOCKS.get(name, 2), 2 * (D + 1) + (0 if name.startswith("albert") else D * (D + 1))
    expected = {
        f"houlsby:bottleneck={M}": blocks * 2 * (2 * M * D + M + D) + norm_parameters(name),
        f"lora:rank={R}": blocks * 2 * R * 2 * D,
        "ia3": blocks * (2 * D + F),
        "layernorm": norm_parameters(name),
    }
    if name == "modernbert":
        del expected["ia3"]
    for method, count in expected.items():
        backbone = fresh_copy(more_backbones[name])
        parse(method).attach(backbone)
        assert sum(parameter.numel() for parameter in backbone.trainable().values()) == count + head, method


def test_a_block_of_albert_is_a_set_of_weights(more_backbones: dict[str, str]) -> None:
    for name in MORE_FAMILIES:
        backbone: Any = fresh_copy(more_backbones[name])
        blocks = matching(backbone.model, backbone.sites.block)
        assert len(blocks) == block_count(more_backbones[name]) == BLOCKS.get(name, 2)
    backbone = fresh_copy(more_backbones["albert-groups"])
    parse("top_layers:n=3").attach(backbone)
    trained = {
        path.rpartition(".albert_layers.")[0][-1] + path.rpartition("albert_layers.")[2][0]
        for path in backbone.trainable()
        if "albert_layers" in path
    }
    assert trained == {"01", "10", "11"}
    with pytest.raises(Unsupported, match="the backbone has 1"):
        parse("top_layers:n=2").attach(fresh_copy(more_backbones["albert"]))


@pytest.mark.parametrize("name", ["albert", "albert-groups", "modernbert"])
def test_without_the_modules_of_a_block_every_call_of_it_lacks_them(name: str, more_backbones: dict[str, str]) -> None:
    backbone: Any = fresh_copy(more_backbones[name])
    rows = encode(backbone)
    with torch.no_grad():
        published = backbone.features(rows.batch(range(4)))
    parse(f"houlsby:bottleneck={M},norms=false").attach(backbone)
    backbone.freeze(keep=r".*\.adapter\..*")
    shake(backbone.trainable())
    backbone.model.eval()
    with torch.no_grad(), without_plugs(matching(backbone.model, backbone.sites.block).values()) as plugs:
        assert plugs == 2 * BLOCKS[name]
        assert torch.equal(backbone.features(rows.batch(range(4))), published)
    with torch.no_grad():
        assert not torch.allclose(backbone.features(rows.batch(range(4))), published)


@pytest.mark.parametrize("method", [f"lora:rank={R},sites=every", "ia3"])
@pytest.mark.parametrize("name", ["albert", "albert-groups", "mpnet", "modernbert", "nomic_bert"])
def test_merged_weights_score_the_same(name: str, method: str, more_backbones: dict[str, str]) -> None:
    backbone: Any = fresh_copy(more_backbones[name])
    attach(parse(method), backbone)
    shake(backbone.trainable(), 0.3)
    backbone.model.eval()
    batch = encode(backbone).batch(range(4))
    with torch.no_grad():
        expected = backbone.score(batch)
        with merged_plugs(backbone.model) as count:
            assert count
            torch.testing.assert_close(backbone.score(batch), expected, rtol=1e-3, atol=1e-3)
