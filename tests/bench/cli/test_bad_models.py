"""Errors for unusable models: exit code 2 with a paragraph before anything runs, from every entry point."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tunefront
from tests.bench.models.folders import copy_of
from tests.bench.models.gguf.files import write_model
from tunefront.bench.errors import UserError

pytestmark = pytest.mark.usefixtures("reports")


def cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def says(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        written = json.loads((folder / "config.json").read_text("utf-8")) | fields
        (folder / "config.json").write_text(json.dumps(written), encoding="utf-8")

    return change


def holds(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: folder.joinpath(name).write_text(content, encoding="utf-8") and None


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (cut, "is truncated"),
    "pointer": (holds("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"),
    "fewer layers": (says(num_hidden_layers=1), "that config.json has no place for"),
    "quantised": (says(quantization_config={"quant_method": "gptq"}), "has a quantization_config"),
    "wrong type": (says(hidden_size="12"), 'hidden_size is "12"'),
    "huge": (says(num_hidden_layers=10**18), "num_hidden_layers is 1"),
    "unknown": (says(model_type="brt"), "Did you mean 'bert'?"),
    "deep": (holds("config.json", '{"a": ' + "[" * 5000 + "]" * 5000 + "}"), "nested too deep"),
    "tokenizer": (holds("tokenizer.json", "{"), "the tokenizer of"),
    "adapter": (holds("adapter_config.json", '{"base_model_name_or_path": "a/b"}'), "a/b"),
    "pooling": (holds("modules.json", "[3]"), "modules.json"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_unusable_model_is_reported_before_anything_runs(
    kind: str, call: Any, backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    change, message = BAD[kind]
    folder = copy_of(backbones["bert"], tmp_path / "model")
    change(folder)
    options = ("--backbone", str(folder), "--task", toy_folder, "--method", "features", "--shots", "8")
    for result in (call("run", *options, "--draws", "0"), call("plan", *options)):
        assert result.exit_code == 2, result.output
        assert message in result.stderr
        assert str(folder) in result.stderr
        assert "Traceback" not in result.output
        assert "bug in tunefront" not in result.output
    with pytest.raises(UserError) as caught:
        tunefront.run(methods=["features"], backbones=[str(folder)], tasks=[toy_folder], out=tmp_path / "results")
    assert message in str(caught.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["~nosuchuser/model", "x" * 5000])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_invalid_name_is_reported(command: str, name: str, call: Any, toy_folder: str) -> None:
    result = call(command, "--backbone", name, "--task", toy_folder, "--method", "features")
    assert result.exit_code == 2, result.output
    assert name[:11] in result.stderr
    assert "Traceback" not in result.output


def test_an_ignored_setting_of_a_folder_is_a_warning(
    call: Any, backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "model", is_decoder=True)
    options = ("--task", toy_folder, "--method", "features", "--shots", "8", "--seeds", "0", "--draws", "0")
    result = call("run", "--backbone", str(folder), *options, "--set", "epochs=1", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "is_decoder: true" in " ".join(result.stderr.split())


BAD_GGUF: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (lambda content: content[: len(content) // 2], "is cut off"),
    "architecture": (lambda content: content.replace(b"llama", b"lemma"), "of the architecture 'lemma'"),
    "tokenizer": (lambda content: content.replace(b"gpt-2", b"gpt-9"), "names the pre-tokenizer 'gpt-9'"),
    "a web page": (lambda content: b"<!DOCTYPE html>" + content, "is not a GGUF file"),
    "empty": (lambda content: b"", "is not a GGUF file"),
}


@pytest.mark.parametrize("kind", BAD_GGUF)
def test_a_gguf_file_that_cannot_be_used_is_told_before_anything_runs(
    kind: str, call: Any, language_models: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    change, said = BAD_GGUF[kind]
    path = write_model(tmp_path / "model.gguf", Path(language_models["llama"]))
    path.write_bytes(change(path.read_bytes()))
    asked = ("--backbone", str(path), "--task", toy_folder, "--method", "icl:k=0", "--shots", "8")
    for result in (call("run", *asked, "--draws", "0"), call("plan", *asked)):
        assert result.exit_code == 2, result.output
        assert said in result.stderr
        assert str(path) in result.stderr
        assert "bug in tunefront" not in result.output
    assert not (tmp_path / "results").exists()


def test_smollm2_that_is_not_fetched_is_told_with_the_command(call: Any, toy_folder: str) -> None:
    asked = ("--backbone", "smollm2", "--task", toy_folder, "--method", "icl:k=0", "--shots", "8")
    for result in (call("run", *asked, "--draws", "0"), call("plan", *asked)):
        assert result.exit_code == 2, result.output
        assert "tunefront fetch smollm2" in result.stderr
