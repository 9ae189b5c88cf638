"""Weights that are truncated, missing, of another kind or not finite: one error before anything runs."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import pytest
import torch

from tests.bench.models.folders import copy_of, save, weights
from tunefront.bench.errors import UserError
from tunefront.bench.models.config import check_backbone
from tunefront.bench.models.weights import headers

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 438\n"


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"])
def test_a_pointer_of_git_lfs_is_reported_with_the_remedy(name: str, backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    (folder / name).write_text(POINTER, encoding="utf-8")
    with pytest.raises(UserError, match=rf"{name} is a Git LFS pointer.*git lfs pull"):
        check_backbone(str(folder))


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>not found</html>", "a web page"),
        (b"\0" * 40, "not a safetensors file"),
        (b"\xff" * 40, "not a safetensors file"),
        ((10).to_bytes(8, "little") + b'{"a": [1]}', "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"[]", "not a safetensors file"),
    ],
)
def test_files_without_weights_are_reported(
    content: bytes, facts: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=facts):
        check_backbone(str(folder))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_an_interrupted_download_is_reported(share: float, backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"model\.safetensors .*[Dd]ownload"):
        check_backbone(str(folder))


def sharded(folder: Path, suffix: str = "safetensors") -> dict[str, str]:
    """Splits the folder's weights into two files with an index; returns its table."""
    from safetensors.torch import save_file

    tensors = weights(folder)
    (folder / "model.safetensors").unlink()
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    table = {}
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), 1):
        file = f"{stem}-0000{number}-of-00002.{suffix}"
        part = {name: tensors[name].contiguous() for name in names}
        save_file(part, folder / file) if suffix == "safetensors" else torch.save(part, folder / file)
        table |= dict.fromkeys(names, file)
    index(folder, table, stem, suffix)
    return table


def index(folder: Path, table: object, stem: str = "model", suffix: str = "safetensors") -> None:
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}), "utf-8")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_and_a_missing_one_is_reported(suffix: str, backbones: dict[str, str], tmp_path: Path) -> None:
    whole = copy_of(backbones["bert"], tmp_path / "copy")
    expected = headers(whole)
    table = sharded(whole, suffix)
    assert headers(whole) == expected
    check_backbone(str(whole))
    check_backbone.cache_clear()
    (whole / sorted(table.values())[-1]).unlink()
    with pytest.raises(UserError, match=rf"names 2 .*1 of them is missing: .*00002-of-00002\.{suffix}"):
        check_backbone(str(whole))


@pytest.mark.parametrize(
    "place", ["../other/model.safetensors", "/etc/passwd", "C:\\model.safetensors", "a\\..\\b.bin"]
)
def test_an_index_that_names_files_elsewhere_is_refused(place: str, backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    table = sharded(folder)
    index(folder, table | {min(table): place})
    with pytest.raises(UserError, match=r"index\.json names the file .*own folder"):
        check_backbone(str(folder))


@pytest.mark.parametrize("table", [None, {}, [], {"a": 1}, "model.safetensors"])
def test_an_invalid_index_is_an_error(table: object, backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    (folder / "model.safetensors").unlink()
    index(folder, table)
    with pytest.raises(UserError, match="has no weight_map"):
        check_backbone(str(folder))


def as_bin(folder: Path) -> Path:
    tensors = weights(folder)
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def test_bin_weights_are_read_and_only_tensors_are_loaded(backbones: dict[str, str], tmp_path: Path) -> None:
    folder = as_bin(copy_of(backbones["bert"], tmp_path / "copy"))
    check_backbone(str(folder))

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    for content in (pickle.dumps(Evil()), (folder / "pytorch_model.bin").read_bytes()[:-500], pickle.dumps(["list"])):
        check_backbone.cache_clear()
        (folder / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(UserError, match=r"pytorch_model\.bin"):
            check_backbone(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("size", [0, 2**63 - 1, 10**8])
def test_a_pickle_or_a_false_size_in_a_safetensors_file_runs_nothing(
    size: int, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    content = pickle.dumps(Evil()) if size == 0 else size.to_bytes(8, "little") + b"{}"
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors"):
        check_backbone(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_nonfinite_weights_are_reported_with_the_tensor(
    value: float, kind: torch.dtype, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    tensors = {name: tensor.to(kind) for name, tensor in weights(folder).items()}
    save(folder, tensors)
    check_backbone(str(folder))
    check_backbone.cache_clear()
    tensors["encoder.layer.1.output.dense.weight"][3, 5] = value
    save(folder, tensors)
    with pytest.raises(UserError, match=r" 1 of 2,048 .*encoder\.layer\.1\.output\.dense\.weight"):
        check_backbone(str(folder))


def test_weights_of_another_format_are_named(backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    (folder / "model.safetensors").rename(folder / "flax_model.msgpack")
    with pytest.raises(UserError, match=r"has no weights.*flax_model\.msgpack .*Flax"):
        check_backbone(str(folder))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize(("kept", "missing"), [((1, 2, 3), ()), ((1, 3), (2,)), ((2,), (1, 3))])
def test_shards_without_an_index_are_reported_with_what_is_there_and_what_is_missing(
    suffix: str, kept: tuple[int, ...], missing: tuple[int, ...], backbones: dict[str, str], tmp_path: Path
) -> None:
    folder, stem = (
        copy_of(backbones["bert"], tmp_path / "copy"),
        "model" if suffix == "safetensors" else "pytorch_model",
    )
    (folder / "model.safetensors").unlink()
    for number in kept:
        (folder / f"{stem}-{number:05}-of-00003.{suffix}").write_bytes(b"some")
    with pytest.raises(
        UserError, match=rf"{len(kept)} of them are in .*{stem}\.{suffix}\.index\.json, is missing"
    ) as caught:
        check_backbone(str(folder))
    named = {number for number in (1, 2, 3) if f"{stem}-{number:05}-of-00003.{suffix}" in str(caught.value)}
    assert named == {*missing, kept[0]}


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
@pytest.mark.parametrize("number", [0.0, 0.5])
def test_constant_weights_are_an_error_before_a_cell_runs(
    name: str, number: float, backbones: dict[str, str], language_models: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of({**backbones, **language_models}[name], tmp_path / "copy")
    save(folder, {key: tensor * 0 + number for key, tensor in weights(folder).items()})
    with pytest.raises(UserError, match="all zero, or constant"):
        check_backbone(str(folder))
