"""Folders without a model: an error before anything runs says what they are and what to give instead."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.bench.models.folders import copy_of
from tunefront.bench.errors import UserError
from tunefront.bench.models.config import check_backbone
from tunefront.bench.models.locate import locate


@pytest.mark.parametrize(
    ("files", "facts"),
    [
        (
            ["a.Q4_K_M.gguf", "b.gguf"],
            r"but a\.Q4_K_M\.gguf, b\.gguf: give one GGUF file by its path, such as .*/a\.Q4",
        ),
        (["model.gguf"], r"the GGUF file .*model\.gguf is not a GGUF file"),
        (["tf_model.h5"], r"tf_model\.h5 \(TensorFlow\)"),
        (["flax_model.msgpack"], r"flax_model\.msgpack \(Flax\)"),
        (["model.onnx"], r"model\.onnx \(ONNX\)"),
        (["consolidated.00.pth", "params.json"], r"consolidated\.00\.pth \(plain PyTorch\)"),
        (["model.safetensors"], r"has no config\.json; copy it from"),
        (["model_index.json"], "a diffusion pipeline"),
        (
            [f"checkpoint-{step}/{name}" for step in (9, 500) for name in ("config.json", "model.safetensors")],
            r"output folder of a Trainer.*give .*checkpoint-500",
        ),
        (
            ["0_Transformer/config.json", "0_Transformer/pytorch_model.bin", "1_Pooling/config.json"],
            r"models \(0_Transformer\): give .*0_Transformer",
        ),
        (["README.md"], r"has no config\.json; give a folder saved with save_pretrained"),
    ],
)
def test_a_folder_without_a_model_is_reported_as_what_it_is(files: list[str], facts: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=facts):
        locate(str(tmp_path))


def test_an_adapter_is_reported_with_its_base_model(backbones: dict[str, str], tmp_path: Path) -> None:
    """Alone, and together with a model, on top of which transformers would load it."""
    adapter = json.dumps({"base_model_name_or_path": "some/base", "peft_type": "LORA"})
    alone = tmp_path / "alone"
    alone.mkdir()
    whole = copy_of(backbones["bert"], tmp_path / "whole")
    for folder in (alone, whole):
        (folder / "adapter_config.json").write_text(adapter, encoding="utf-8")
    with pytest.raises(UserError, match=r"PEFT adapter, trained on some/base, .*give that model \(some/base\).*merge"):
        locate(str(alone))
    with pytest.raises(UserError, match=r"a model and a PEFT adapter \(adapter_config\.json, trained on some/base\)"):
        locate(str(whole))


def test_a_file_is_no_folder(backbones: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no GGUF file"):
        locate(str(tmp_path / "model.gguf"))
    with pytest.raises(UserError, match=r"model\.safetensors: it is a file"):
        locate(f"{backbones['bert']}/model.safetensors")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_what_is_no_file_is_reported_and_not_waited_for(
    name: str, kind: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    (folder / name).unlink()
    {"folder": os.mkdir, "pipe": os.mkfifo, "loop": lambda path: os.symlink(path, path)}[kind](folder / name)
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        check_backbone(str(folder))


@pytest.mark.parametrize("name", ["~nosuchuser/model", "x" * 5000, "a/" * 3000, "nul\0byte"])
def test_a_name_that_cannot_be_looked_for_is_an_error(name: str) -> None:
    with pytest.raises(UserError):
        locate(name)
