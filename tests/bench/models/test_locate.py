"""Where backbones are found, the errors if they are not, and what their fingerprint covers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests import ROOT
from tunefront.bench.errors import UserError
from tunefront.bench.models import locate as locating
from tunefront.bench.models.locate import backbone_bytes, fingerprint, known_backbones, locate


def test_a_folder_is_found_where_it_is(backbones: dict[str, str]) -> None:
    assert locate(backbones["bert"]) == Path(backbones["bert"])


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("{}/empty", "empty has no config.json; give a folder saved with save_pretrained()"),
        ("{}/gone/at/all", "there is no model folder .*at/all; give a folder .* or a Hub id"),
        ("{}/file", "there is no model folder .*file"),
        ("what is this", "there is no model folder what is this"),
        ("minilmm", "no backbone 'minilmm'; did you mean 'minilm'.*; the Hub answered: "),
        ("somebody/something", "no backbone 'somebody/something'.*; the Hub answered: "),
    ],
)
def test_a_backbone_that_is_not_there_is_an_error_that_says_what_to_give(name: str, facts: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=facts):
        locate(name.format(tmp_path))


def test_the_bytes_of_a_backbone_are_those_of_the_files_that_would_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert backbone_bytes(str(tmp_path)) is None
    shards = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}
    for name, content in (
        ("pytorch_model.bin", "x" * 1000),
        ("model.safetensors.index.json", json.dumps({"weight_map": shards})),
        ("model-1.safetensors", "x" * 30),
        ("model-2.safetensors", "x" * 12),
    ):
        (tmp_path / name).write_text(content)
    backbone_bytes.cache_clear()
    assert backbone_bytes(str(tmp_path)) == 42
    (tmp_path / "model.safetensors").write_text("x" * 7)
    backbone_bytes.cache_clear()
    assert backbone_bytes(str(tmp_path)) == 7


def test_weights_that_are_not_the_published_minilm_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(locating.MINILM_WHEEL)
    monkeypatch.setattr(locating, "MINILM_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"is not the published MiniLM: its sha256 is 53aa51172d142c89\.\.\., not 0000"):
        locate.__wrapped__("minilm")


def test_without_its_wheel_and_a_network_minilm_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locating, "MINILM_WHEEL", "no_such_wheel")
    monkeypatch.setattr(locating, "MINILM_HUB", "nobody/nothing")  # the real one may lie in the user's cache
    with pytest.raises(UserError, match=r"install it with: pip install 'tunefront\[offline\]'"):
        locate.__wrapped__("minilm")


def test_nano_is_the_folder_in_the_package(language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert ROOT / "bench" / "models" / "nano" == locating.NANO
    monkeypatch.setattr(locating, "NANO", Path(language_models["llama"]))
    assert locate.__wrapped__("nano") == Path(language_models["llama"])


def test_without_its_weights_nano_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locating, "NANO", tmp_path)
    with pytest.raises(
        UserError, match=r"nano is not in this installation: there is no .*/model\.safetensors; install"
    ):
        locate.__wrapped__("nano")


def test_descriptions_of_embedded_backbones_fit_a_line() -> None:
    assert list(known_backbones()) == ["minilm", "nano", "smollm2"]
    assert all(20 < len(about) <= 110 and about.endswith(".") for about in known_backbones().values())


def test_the_fingerprint_covers_only_files_that_can_change_a_number(backbones: dict[str, str], tmp_path: Path) -> None:
    def of_copy(change: str, content: str = "{}") -> str:
        folder = tmp_path / change.replace("/", "_")
        shutil.copytree(backbones["bert"], folder)
        path = folder / change
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return fingerprint(str(folder))

    plain = fingerprint(backbones["bert"])
    assert {of_copy("README.md"), of_copy("picture.png")} == {plain}
    changed = ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "1_Pooling/config.json"]
    assert len({plain, *map(of_copy, changed)}) == 1 + len(changed)
