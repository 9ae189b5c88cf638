"""Sites: every regex matches on its architecture, and an unknown architecture is told what to write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from bench.backbones import check_backbone
from bench.errors import Mistake
from methods.houlsby import Houlsby
from methods.ia3 import IA3
from methods.inject import matching
from methods.sites import SITES, Sites, sites_for
from methods.top_layers import TopLayers
from tests.conftest import make_backbone
from tests.toys import pristine

REGEXES = [f.name for f in fields(Sites) if f.name not in ("pooling", "head_activation", "repeated")]
COUNTS = {"sublayer_output": 2 * 3}  # a block has one of each other, of three blocks


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    """Three blocks of each architecture that has a record, as published but narrow."""
    small = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 12}
    narrow = {"dim": 8, "n_layers": 3, "n_heads": 2, "hidden_dim": 12}
    made = {}
    for kind in SITES:
        config = AutoConfig.for_model(kind, vocab_size=20, **(narrow if kind == "distilbert" else small))
        made[kind] = AutoModel.from_config(config)
    return made


@pytest.mark.parametrize("site", REGEXES)
@pytest.mark.parametrize("kind", SITES)
def test_every_site_matches_once_a_block(kind: str, site: str, models: dict[str, nn.Module]) -> None:
    regex = getattr(SITES[kind], site)
    found = matching(models[kind], regex)
    if site == "norms":
        assert set(found.values()) == {m for m in models[kind].modules() if isinstance(m, nn.LayerNorm)}
        return
    assert len(found) == COUNTS.get(site, 3)
    if site not in ("block", "sublayer_output"):
        assert all(isinstance(module, nn.Linear) for module in found.values())


@pytest.mark.parametrize("kind", SITES)
def test_blocks_are_numbered_by_the_first_group(kind: str, models: dict[str, nn.Module]) -> None:
    paths = matching(models[kind], SITES[kind].block)
    assert [int(re.fullmatch(SITES[kind].block, path)[1]) for path in paths] == [0, 1, 2]  # type: ignore[index]


@pytest.mark.parametrize("kind", SITES)
def test_projections_are_told_apart_by_their_shapes(kind: str, models: dict[str, nn.Module]) -> None:
    """Up widens, down narrows, and the other four keep the width; none is two sites at once."""
    sites, shapes, seen = SITES[kind], {}, set()
    for name in ("query", "key", "value", "attention_output", "ffn_up", "ffn_down"):
        found = matching(models[kind], getattr(sites, name))
        shapes[name] = {(module.in_features, module.out_features) for module in found.values()}
        assert not seen & set(found)
        seen |= set(found)
    square = {(8, 8)}
    assert shapes == dict.fromkeys(("query", "key", "value", "attention_output"), square) | {
        "ffn_up": {(8, 12)},
        "ffn_down": {(12, 8)},
    }


@pytest.mark.parametrize("kind", SITES)
def test_exactly_the_sites_called_twice_are_declared_repeated(kind: str, backbones: dict[str, str]) -> None:
    backbone = pristine(backbones[kind])
    calls = dict.fromkeys(REGEXES, 0)
    for name in ("query", "key", "value", "attention_output", "ffn_up", "ffn_down", "sublayer_output"):
        host = next(iter(matching(backbone.model, getattr(SITES[kind], name)).values()))
        host.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    with torch.no_grad():
        backbone.model(input_ids=torch.tensor([[2, 5, 6, 3]]))
    assert {name for name, times in calls.items() if times > 1} == SITES[kind].repeated


def test_impossible_records_are_refused() -> None:
    known = dict.fromkeys(REGEXES, "x")
    with pytest.raises(ValueError, match=r"repeated names sites, got \['kee'\]"):
        Sites(**known, repeated=frozenset({"kee"}))
    with pytest.raises(ValueError, match="pooling must be pooler or first, got 'max'"):
        Sites(**known, pooling="max")


@pytest.fixture
def electra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A backbone of an architecture without a record; what a test adds is forgotten."""
    folder = tmp_path_factory.mktemp("unknown") / "electra"
    yield str(make_backbone(folder, "electra", embedding_size=32))
    SITES.pop("electra", None)


def test_an_unknown_architecture_says_how_to_add_one(electra: str) -> None:
    """The five lines of the message, their dots filled in, make the backbone usable with every kind of method."""
    with pytest.raises(Mistake, match=r"no sites record for the architecture 'electra'; known: bert, ") as error:
        check_backbone(electra)
    example = "\n".join(line.strip() for line in str(error.value).splitlines() if line.startswith("    "))
    assert 2 <= len(example.splitlines()) <= 5
    bert = SITES["bert"]
    filled = re.sub(r"(\w+)=\.\.\.", lambda match: f"{match[1]}={getattr(bert, match[1])!r}", example)
    assert "..." not in filled
    exec(filled, {})  # the message's own lines
    check_backbone(electra)
    for method in (Houlsby(bottleneck=2), IA3(), TopLayers(n=1)):
        method.attach(pristine(electra))
    assert sites_for("electra").pooling == "first"


def test_a_known_architecture_gives_its_record() -> None:
    assert sites_for("bert") is SITES["bert"]
    with pytest.raises(KeyError, match="no sites record"):
        sites_for("llama7")
