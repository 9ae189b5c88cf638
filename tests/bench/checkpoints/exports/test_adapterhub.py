"""Adapters of AdapterHub: its own library, in an environment of its own, computes the stored logits.

`TUNEFRONT_ADAPTERHUB` is the folder of that environment (`tox -e adapterhub`); without it only the files are looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.bench.checkpoints.exports.fitted import averaging, fit
from tests.peers.adapterhub import python_of
from tunefront.bench.checkpoints.exports.adapterhub import NAME
from tunefront.bench.checkpoints.exports.library import HEAD_NAME, SAMPLE_NAME
from tunefront.bench.models.tiny import FAMILIES

MODELS = ("gpt2", "llama", "mistral", "t5", "t5-gated", "bart")
METHODS = ("houlsby:bottleneck=12,norms=false", "pfeiffer:reduction=3")
PYTHON = python_of(os.environ.get("TUNEFRONT_ADAPTERHUB"))
needs_adapterhub = pytest.mark.skipif(PYTHON is None, reason="TUNEFRONT_ADAPTERHUB is no environment with adapters")


def theirs(base: str, folder: Path) -> dict[str, Any]:
    """What AdapterHub's side finds in an exported folder."""
    script = str(Path(__file__).with_name("adapterhub_child.py"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(PYTHON), "-I", script, base, str(folder)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@needs_adapterhub
@pytest.mark.parametrize("family", [*FAMILIES, *MODELS])
@pytest.mark.parametrize("method", METHODS)
def test_their_library_computes_the_same(method: str, family: str, folders: dict[str, str], tmp_path: Path) -> None:
    ran, out = fit(method, folders[family], tmp_path), tmp_path / "adapter"
    ran.exported("adapterhub", out)
    found = theirs(untied(ran.backbone, tmp_path) if family == "t5-gated" else ran.backbone, out)
    assert not any(found["loading"].values()), found["loading"]
    assert found["effect"] > 1e-2 * found["scale"]
    assert found["difference"] <= 1e-5 * found["scale"]


def untied(backbone: str, tmp_path: Path) -> str:
    """A copy of the folder whose configuration says to older versions too that its embeddings are not tied."""
    folder = tmp_path / "untied"
    folder.mkdir()
    for file in Path(backbone).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    return str(folder)


@needs_adapterhub
def test_a_head_on_a_mean_stands_beside_the_adapter(backbones: dict[str, str], tmp_path: Path) -> None:
    folder = str(averaging(backbones["bert"], tmp_path))
    ran, out = fit(METHODS[0], folder, tmp_path), tmp_path / "adapter"
    assert any(HEAD_NAME in note for note in ran.exported("adapterhub", out))
    found = theirs(folder, out)
    assert found["effect"] > 1e-2 * found["scale"]
    assert found["difference"] <= 1e-5 * found["scale"]


@pytest.mark.parametrize("method", METHODS)
def test_files_have_their_names_and_no_pickle(method: str, backbones: dict[str, str], tmp_path: Path) -> None:
    ran, out = fit(method, backbones["roberta"], tmp_path), tmp_path / "adapter"
    ran.exported("adapterhub", out)
    assert {file.name for file in out.iterdir()} == {
        *("adapter_config.json", "adapter.safetensors", "head_config.json", "model_head.safetensors"),
        *("manifest.json", SAMPLE_NAME),
    }
    tensors, config = load_file(out / "adapter.safetensors"), json.loads((out / "adapter_config.json").read_text())
    assert config["config"]["original_ln_before"] is False
    assert config["config"]["mh_adapter"] is method.startswith("houlsby")
    places = 2 if method.startswith("houlsby") else 1
    assert len(tensors) == 2 * places * 4
    down = tensors[f"roberta.encoder.layer.1.output.adapters.{NAME}.adapter_down.0.weight"]
    assert down.shape == (int(32 // config["config"]["reduction_factor"]), 32)
    assert sum(value.numel() for value in tensors.values()) == ran.record.parameters.trainable - sum(
        value.numel() for value in load_file(out / "model_head.safetensors").values()
    )
    sample = load_file(out / SAMPLE_NAME)
    assert sample["logits"].shape == (len(sample["input_ids"]), 2)


@pytest.mark.parametrize("width", range(1, 400, 7))
def test_the_reduction_gives_the_bottleneck(width: int) -> None:
    """As AdapterHub computes it: the whole part of the width over the factor."""
    from tunefront.methods.counterparts import reduction

    assert all(int(width // reduction(width, narrow)) == narrow for narrow in range(1, 2 * width))


@pytest.mark.parametrize(
    ("method", "family", "word"),
    [
        ("houlsby:bottleneck=4", "bert", "norms=false"),
        ("pfeiffer:reduction=4,norms=true", "llama", "norms=false"),
        ("houlsby:bottleneck=4,norms=false", "opt", "opt"),
        ("pfeiffer:reduction=4", "qwen2", "qwen2"),
        ("ia3", "bert", "ia3"),
        ("icl:k=2", "llama", "icl"),
    ],
)
def test_what_adapterhub_cannot_express_is_refused(
    method: str, family: str, word: str, folders: dict[str, str], tmp_path: Path
) -> None:
    fit(method, folders[family], tmp_path).refused("adapterhub", tmp_path / "adapter", word)


def test_a_sample_has_the_fitted_models_own_logits(language_models: dict[str, str], tmp_path: Path) -> None:
    from tunefront.bench.checkpoints.loading import open_checkpoint

    ran, out = fit(METHODS[1], language_models["gpt2"], tmp_path), tmp_path / "adapter"
    ran.exported("adapterhub", out)
    sample = load_file(out / SAMPLE_NAME)
    logits = sample.pop("logits")
    _, fitted = open_checkpoint(ran.path)
    with torch.no_grad():
        torch.testing.assert_close(fitted.backbone.model(**sample).logits, logits)
