"""`tunefront probe` on the command line, and models that are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tunefront.bench.cli.main import app
from tunefront.bench.models.sites_file import read_sites

pytestmark = pytest.mark.usefixtures("few_methods")


def called(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["probe", *arguments])


def test_one_screen_says_what_runs(folders: dict[str, str]) -> None:
    result = called(folders["bert"])
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 200
    for word in ("bert", "BertModel", "houlsby", "icl", "in-context"):
        assert word in result.stdout
    found = json.loads(called(folders["bert"], "--json").stdout)
    assert found["architecture"] == "bert"
    assert {tried["method"] for tried in found["methods"] if tried["reason"]} >= {"icl", "cartridge"}


def test_the_printed_record_is_a_file_for_sites(others: dict[str, str], tmp_path: Path) -> None:
    result = called(others["ernie"])
    assert result.exit_code == 0, result.output
    file = tmp_path / "sites.toml"
    file.write_text(result.stdout[result.stdout.index("[ernie]") :], encoding="utf-8")
    assert read_sites(str(file))["ernie"].pooling == "pooler"
    assert called(others["ernie"], "--sites", str(tmp_path / "absent.toml")).exit_code == 2


def changed(folder: str, to: Path, **fields: Any) -> str:
    """A copy of a model's folder with other fields in its configuration."""
    copied = Path(shutil.copytree(folder, to))
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    (copied / "config.json").write_text(json.dumps({**config, **fields}), encoding="utf-8")
    return str(copied)


@pytest.mark.parametrize(
    ("like", "fields", "words"),
    [
        ("bert", {"model_type": "vit"}, ("vit", "pixel_values")),
        ("llama", {"architectures": ["LlamaForSequenceClassification"], "num_labels": 1}, ("reward model",)),
        ("llama", {"auto_map": {"AutoModelForCausalLM": "modeling_mine.MyModel"}}, ("auto_map", "never run")),
        ("bert", {"model_type": "brt"}, ("brt", "'bert'")),
        ("bert", {"model_type": None}, ("model_type",)),
        ("bert", {"vocab_size": 7}, ("shape",)),
    ],
    ids=["vision", "reward", "remote code", "unknown", "no type", "other weights"],
)
def test_what_is_no_language_model_is_told_in_one_paragraph(
    like: str, fields: dict[str, Any], words: tuple[str, ...], folders: dict[str, str], tmp_path: Path
) -> None:
    folder = changed(folders[like], tmp_path / "model", **fields)
    for result in (
        called(folder),
        CliRunner().invoke(app, ["run", "--backbone", folder, "--out", str(tmp_path / "o")]),
    ):
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        assert all(word in result.stderr for word in words)
    assert not (tmp_path / "o").exists()


def test_a_mixture_that_lacks_an_expert_is_told(tmp_path: Path) -> None:
    from tests.bench.models.families.test_logits import added_model

    folder = added_model(tmp_path / "mixture", "olmoe", num_experts=4, num_experts_per_tok=2)
    assert called(folder).exit_code == 0
    file = Path(shutil.copytree(folder, tmp_path / "lacking")) / "model.safetensors"
    tensors = load_file(file)
    lost = next(name for name in tensors if ".experts.2.up_proj" in name)
    del tensors[lost]
    save_file(tensors, file, metadata={"format": "pt"})
    result = called(str(file.parent))
    assert result.exit_code == 2
    assert lost in result.stderr.replace("\n", "")
