"""Fake models against the real backbones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch._subclasses.fake_tensor import FakeTensor

from tests.toys import loaded, toy_task
from tunefront.bench.forecast.fake_models import FakePretrained, fake_pretrained
from tunefront.bench.forecast.synthetic import PlainTextTemplate, SyntheticRows
from tunefront.bench.models.families import Prompting
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS

NAMES = (*FAMILIES, *LANGUAGE_MODELS)


def shared(model: torch.nn.Module) -> set[frozenset[str]]:
    """The groups of paths that share a parameter."""
    paths: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        paths.setdefault(id(parameter), set()).add(name)
    return {frozenset(names) for names in paths.values() if len(names) > 1}


def fresh_copy(source: Any, prompting: Prompting | None) -> Any:
    return source.fresh_copy(toy_task(), 0, prompting=prompting)


@pytest.mark.parametrize("name", NAMES)
def test_a_fake_model_is_the_real_model_without_values(name: str, folders: dict[str, str]) -> None:
    fake, weights = FakePretrained(folders[name]), loaded(folders[name])
    assert fake.params == weights.params
    assert fake.pooling == weights.pooling
    assert fake.file_bytes == weights.file_bytes
    prompting = Prompting(PlainTextTemplate()) if name in LANGUAGE_MODELS else None
    ours, theirs = fresh_copy(fake, prompting), fresh_copy(weights, prompting)
    sizes = {path: (tuple(tensor.shape), tensor.dtype) for path, tensor in ours.model.named_parameters()}
    assert sizes == {path: (tuple(tensor.shape), tensor.dtype) for path, tensor in theirs.model.named_parameters()}
    assert shared(ours.model) == shared(theirs.model)
    assert all(isinstance(parameter, FakeTensor) for parameter in ours.model.parameters())
    assert {type(module).__name__ for module in ours.model.modules()} == {
        type(module).__name__ for module in theirs.model.modules()
    }


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_pristine_twice_gives_separate_parameters(name: str, folders: dict[str, str]) -> None:
    fake = FakePretrained(folders[name])
    prompting = Prompting(PlainTextTemplate()) if name in LANGUAGE_MODELS else None
    first = fresh_copy(fake, prompting)
    first.freeze()
    first.model.extra = torch.nn.Identity()
    second = fresh_copy(fake, prompting)
    assert not any(parameter.requires_grad for parameter in first.model.parameters())
    assert all(parameter.requires_grad for parameter in second.model.parameters())
    assert not hasattr(second.model, "extra")


def test_modules_made_for_a_fake_model_have_no_values(backbones: dict[str, str]) -> None:
    fake = FakePretrained(backbones["bert"])
    with fake.init_context():
        inside = torch.nn.Linear(2, 3)
    assert isinstance(inside.weight, FakeTensor)
    assert not isinstance(torch.nn.Linear(2, 3).weight, FakeTensor)


def test_loading_a_checkpoint_into_a_fake_model_reads_nothing(backbones: dict[str, str]) -> None:
    fresh_copy(FakePretrained(backbones["bert"]), None).load("/there/is/no/such/file.safetensors")


@pytest.mark.parametrize("sharded", [False, True])
def test_a_checkpoint_without_a_pooler_pools_the_first_token(
    sharded: bool, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(backbones["bert"], tmp_path / "bert"))
    weights = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if "pooler" not in name}
    save_file(kept, weights, {"format": "pt"})
    if sharded:
        weights.rename(folder / "model-00001-of-00001.safetensors")
        index = {"metadata": {}, "weight_map": dict.fromkeys(kept, "model-00001-of-00001.safetensors")}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    fake, weights = FakePretrained(str(folder)), loaded(str(folder))
    assert fake.pooling == weights.pooling == "first"
    assert fake.params == weights.params < FakePretrained(backbones["bert"]).params
    paths = [path for path, _ in fresh_copy(fake, None).model.named_parameters()]
    assert paths == [path for path, _ in fresh_copy(weights, None).model.named_parameters()]


def test_a_lone_configuration_counts_all_weights(backbones: dict[str, str]) -> None:
    alone = FakePretrained(str(Path(backbones["bert"]) / "config.json"), SyntheticRows(tokens=16))
    assert alone.params == FakePretrained(backbones["bert"]).params
    assert alone.pooling == "pooler"
    assert alone.file_bytes is not None
    assert alone.file_bytes > 4 * alone.params


def test_a_fake_model_is_made_once(backbones: dict[str, str]) -> None:
    assert fake_pretrained(backbones["bert"]) is fake_pretrained(backbones["bert"])
    assert fake_pretrained(backbones["bert"]) is not fake_pretrained(backbones["bert"], SyntheticRows())


@pytest.mark.parametrize("name", [name for name in (*FAMILIES, *LANGUAGE_MODELS) if name != "roberta"])
def test_a_lone_configuration_gives_the_size_of_the_saved_file(name: str, folders: dict[str, str]) -> None:
    """Only the header may differ, in its metadata and in the name of a tied tensor. RoBERTa's random file has a pooler,
    which its published files and its fake model lack."""
    saved = Path(folders[name]) / "model.safetensors"
    planned = FakePretrained(str(Path(folders[name]) / "config.json"), SyntheticRows()).file_bytes
    assert abs(planned - saved.stat().st_size) <= 128
