"""The sites that are proposed for an architecture are those of its record, and run where there is none."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.models.others import OTHERS
from tests.bench.probe import renamed
from tests.toys import encode, fresh_copy, loaded, toy_task
from tunefront import run
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.sites_file import as_toml
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS, MORE_FAMILIES, MORE_LANGUAGE_MODELS
from tunefront.bench.probe.proposal import Proposal, propose
from tunefront.methods.inject import matching
from tunefront.methods.sites import Sites
from tunefront.methods.unrecorded import unrecorded

CHOSEN = {"distilbert": {"sublayer_output", "ffn_output"}, "deberta-v2": set()}
"""Sites that a record sets otherwise on purpose: DistilBERT's adapters both follow projections."""
OWN_ATTENTION = ("deberta", "mpnet", "gemma2", "gptj", "falcon", "bloom")
"""Architectures whose attention takes no lead, by which it is observed."""
OF_A_HEAD = ("head_activation", "pooling")


def proposed(folder: str) -> tuple[Proposal, Any]:
    """The proposal for a model, as if its architecture had no record; and its backbone."""
    pretrained = loaded(folder)
    own = pretrained.sites
    pretrained.sites = unrecorded(pretrained.config.model_type, own.family)
    try:
        backbone: Any = fresh_copy(folder)
        found = propose(backbone, pretrained.pooling, encode(backbone, toy_task()).batch(range(2)))
    finally:
        pretrained.sites = own
    assert found is not None
    return found, backbone


def places(model: Any, site: str | None) -> set[str]:
    """The paths of what a site matches, without norms that a block leaves out."""
    matches = () if site is None else model.named_modules()
    return {
        path
        for path, module in matches
        if re.fullmatch(str(site), path) and not ("norm" in path and isinstance(module, torch.nn.Identity))
    }


@pytest.fixture(scope="module")
def every_folder(
    folders: dict[str, str], more_backbones: dict[str, str], more_language_models: dict[str, str]
) -> dict[str, str]:
    return {**folders, **more_backbones, **more_language_models}


@pytest.mark.parametrize("name", [*FAMILIES, *LANGUAGE_MODELS, *MORE_FAMILIES, *MORE_LANGUAGE_MODELS])
def test_a_proposal_finds_the_places_of_the_record(name: str, every_folder: dict[str, str]) -> None:
    folders = every_folder
    found, backbone = proposed(folders[name])
    record = loaded(folders[name]).sites
    assert found.tried == (name.partition("-")[0] not in OWN_ATTENTION)
    fused = None if found.tried else record.fused  # whose order only a trial shows
    assert found.unknown == (() if fused is None else (fused,))
    for field in fields(Sites):
        ours, theirs = getattr(found.sites, field.name), getattr(record, field.name)
        if field.name in (*OF_A_HEAD, *CHOSEN.get(name, ()), *(("fused", "fused_by_head") if fused else ())):
            continue
        if field.name == "absent":
            assert (ours is None) == (theirs is None)
            continue
        if not isinstance(theirs, str | None) or field.name in ("family", "fused"):
            assert ours == theirs, field.name
        else:
            assert places(backbone.model, ours) == places(backbone.model, theirs), field.name


@pytest.mark.parametrize("name", OTHERS)
def test_a_proposal_leaves_no_linear_layer_out(name: str, others: dict[str, str]) -> None:
    found, backbone = proposed(others[name])
    assert found.unknown == ()
    for field in ("query", "key", "value", "attention_output", "ffn_up", "ffn_down", "norms", "block"):
        assert matching(backbone.model, getattr(found.sites, field))


@pytest.fixture
def odd(tmp_path: Path) -> str:
    """A model nobody has recorded."""
    return renamed.save(tmp_path / "odd")


def test_leaves_of_names_without_a_meaning_are_found_by_what_they_do(odd: str) -> None:
    found, _ = proposed(odd)
    names = {
        "query": "alpha", "key": "beta", "value": "gamma", "attention_output": "delta",
        "ffn_gate": "first", "ffn_up": "second", "ffn_down": "third",
    }  # fmt: skip
    assert found.tried
    assert {site: getattr(found.sites, site).rpartition(".")[2] for site in names} == names


def test_a_proposal_runs(odd: str, toy_folder: str, tmp_path: Path) -> None:
    found, _ = proposed(odd)
    file = tmp_path / "sites.toml"
    file.write_text(as_toml("tunefront_odd", found.sites), encoding="utf-8")
    records = run(
        methods=["houlsby:bottleneck=4", "ia3", "lora:rank=2", "layernorm", "top_layers:n=1", "scaling"],
        backbones=[odd], tasks=[toy_folder], shots=[8], draws=[0], seeds=[0], settings={"steps": 1},
        sites=[str(file)], out=tmp_path / "out",
    )  # fmt: skip
    assert {record.status for record in records} == {"ok"}
    trained = {record.method.split(":")[0]: record.parameters.trainable for record in records}
    width, inner, keys, blocks = 32, 64, 16, 2
    assert trained["ia3"] == blocks * (2 * keys + inner)
    assert trained["lora"] == 2 * blocks * (width + width + width + keys)
    assert trained["layernorm"] == width * (2 * blocks + 1)


def test_a_proposal_keeps_what_the_head_reads(others: dict[str, str]) -> None:
    backbone: Any = fresh_copy(others["ernie"])
    few = encode(backbone, toy_task()).batch(range(2))
    for pooling in ("pooler", "first", "mean"):
        found = propose(backbone, pooling, few)
        assert found is not None
        assert found.sites.pooling == pooling


def test_names_alone_are_said_to_be_a_guess(folders: dict[str, str]) -> None:
    """For a configuration without weights; a fused projection's order is not known by its name."""
    from tunefront.bench.forecast.fake_models import FakePretrained
    from tunefront.bench.probe.probing import _backbone
    from tunefront.bench.probe.trying import ROWS

    for name in ("bert", "llama", "gpt2", "t5"):
        source = FakePretrained(folders[name] + "/config.json", ROWS)
        found = propose(_backbone(source), source.pooling, None)
        assert found is not None
        assert not found.tried
        model, record = source.fresh_copy(ROWS.task(source.sites.family), 0).model, source.sites
        for site in ("query", "key", "value", "attention_output", "ffn_up", "ffn_down", "block"):
            assert places(model, getattr(found.sites, site)) == places(model, getattr(record, site)), (name, site)
        assert found.sites.fused is None


def test_a_model_without_a_list_of_blocks_gets_none(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained = Pretrained(folders["bert"], torch.device("cpu"))
    backbone: Any = pretrained.fresh_copy(toy_task(), 0)
    backbone.model.encoder.layer = torch.nn.Sequential(*backbone.model.encoder.layer)
    assert propose(backbone, "first", None) is None
