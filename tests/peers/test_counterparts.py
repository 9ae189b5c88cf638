"""The comparisons of `python -m tests.peers`, without the peers: names, shapes, plain passes and tolerances."""

from __future__ import annotations

import configparser
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import ROOT
from tests.peers import adapterhub, parity, peft_methods
from tests.peers.adapterhub import AdapterHub, python_of, renamed
from tests.toys import encode, fresh_copy, mixed_task, shake
from tunefront.bench.models.tiny import LANGUAGE_MODELS
from tunefront.methods.spelling import parse

LAYER = "encoder.encoder.layer.0"
HUB_NAMES = {
    "ia3": {
        f"{LAYER}.attention.self.key.loras.peer.lora_B",
        f"{LAYER}.attention.self.value.loras.peer.lora_B",
        f"{LAYER}.intermediate.dense.loras.peer.lora_B",
    },
    "lora": {
        f"{LAYER}.attention.self.{place}.loras.peer.{part}"
        for place in ("query", "value")
        for part in ("lora_A", "lora_B")
    },
    "houlsby": {
        f"{LAYER}.{place}adapters.peer.{part}.{kind}"
        for place in ("attention.output.", "output.")
        for part in ("adapter_down.0", "adapter_up")
        for kind in ("weight", "bias")
    },
}
"""The names of trained tensors in the first block in `adapters` 1.3.0."""


@pytest.mark.parametrize("name", HUB_NAMES)
def test_trained_tensors_get_adapterhubs_names(name: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    parse(name).attach(backbone)
    tensors = renamed(adapterhub.COUNTERPARTS[name], backbone.trainable())
    inserted = {key for key in tensors if key.startswith(LAYER) and "LayerNorm" not in key}
    assert inserted == HUB_NAMES[name]
    assert {"head.weight", "head.bias"} <= tensors.keys()
    assert len(tensors) == len(backbone.trainable())


def test_ia3_vectors_are_rows_before_a_layer_and_columns_after_it_in_peft(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    parse("ia3").attach(backbone)
    ours = {name: tensor for name, tensor in backbone.trainable().items() if not name.startswith("head.")}
    shapes = {k: tuple(v.shape) for k, v in peft_methods.COUNTERPARTS["ia3"].rearrange(backbone, ours).items()}
    block = "encoder.layer.1"
    assert len(shapes) == 6
    assert shapes[f"{block}.attention.self.key.ia3_l.default"] == (32, 1)
    assert shapes[f"{block}.output.dense.ia3_l.default"] == (1, 64)


def test_a_prefix_is_one_table_in_peft_with_the_blocks_in_order(language_models: dict[str, str]) -> None:
    backbone = parity.make_side(Path(language_models["llama"]))
    parse("prefix_tuning:length=3,hidden=0").attach(backbone)
    there = peft_methods.COUNTERPARTS["prefix_tuning"].rearrange(backbone, parity.inserted(backbone))
    (table,) = there.values()
    assert table.shape == (3, 2 * 2 * 32)
    led = backbone.model.lead()
    states = [part for path in sorted(led) for part in led[path]]  # each block's keys, then its values
    expected = torch.cat([part[0].transpose(0, 1).flatten(1) for part in states], dim=1)
    assert torch.equal(table, expected)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "bart"])
def test_plain_passes_equal_scoring(name: str, language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models[name], mixed_task(), dropout=0.0, template=parity.Listed())
    backbone.model.eval()
    batch = encode(backbone, mixed_task(), "test").batch(range(8))
    with torch.no_grad():
        plain = parity.plain_logprobs(backbone.model, batch, LANGUAGE_MODELS[name])
        scored = backbone.choice_logprobs(batch)[batch.inputs["choice_mask"]]
    torch.testing.assert_close(torch.cat([choice for row in plain for choice in row]), scored, rtol=0, atol=1e-5)


def test_a_difference_is_relative_to_the_largest_entry_of_a_gradient() -> None:
    ours = parity.Result(torch.tensor([1.0, 2.0]), {"a": torch.tensor([1e-3, 0.0])})
    near = parity.Result(torch.tensor([1.0, 2.0 + 4e-6]), {"a": torch.tensor([1e-3, 4e-9])})
    assert parity.difference(ours, near).small
    far = parity.Result(ours.outputs, {"a": torch.tensor([1e-3, 4e-8])})
    assert not parity.difference(ours, far).small
    wild = parity.Result(torch.tensor([1.0, float("nan")]), ours.gradients)
    assert not parity.difference(ours, wild).small
    with pytest.raises(AssertionError, match="shows nothing"):
        parity.difference(ours, parity.Result(ours.outputs, {"a": torch.zeros(2)}))


def test_every_case_of_parity_can_be_made_here(folders: dict[str, str]) -> None:
    for case in parity.CASES:
        backbone = parity.make_side(Path(folders[case.backbone]))
        method = parse(case.method)
        method.attach(backbone)
        inserted = parity.inserted(backbone)
        shake(inserted)
        counterpart = peft_methods.COUNTERPARTS[method.name]
        assert counterpart.config(backbone, method)
        there = counterpart.rearrange(backbone, inserted)
        assert sum(tensor.numel() for tensor in there.values()) == sum(tensor.numel() for tensor in inserted.values())


def test_a_difference_fails_the_command() -> None:
    code = (
        "import sys\nfrom tests.peers import parity\nfrom tests.peers.__main__ import main\n"
        "sys.argv = ['peers', 'parity']\n"
        "for agreed in (True, False):\n    parity.main = lambda: agreed\n    print(main())"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.split() == ["0", "1"], result.stderr


def test_a_missing_environment_has_no_python(tmp_path: Path) -> None:
    assert python_of(None) is None
    assert python_of(str(tmp_path)) is None
    assert python_of(sys.prefix) is not None


@pytest.mark.skipif(importlib.util.find_spec("adapters") is not None, reason="adapters is installed here")
def test_a_process_that_cannot_start_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with AdapterHub(sys.executable) as hub, pytest.raises(RuntimeError, match="'versions'"):
        hub.call("versions")
    assert "No module named 'adapters'" in capfd.readouterr().err


def test_adapterhub_runs_on_the_torch_that_this_suite_is_tested_with() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    pins = tox["testenv:adapterhub"]["deps"].split()
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert next(pin for pin in pins if pin.startswith("torch==")) in constraints
