"""Hostile models: none runs code and none uses the network, whatever its files say."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from packaging.version import Version

from tests import ROOT
from tests.bench.models.folders import copy_of
from tests.toys import encode, fresh_copy
from tunefront.bench.errors import UserError
from tunefront.bench.forecast.fake_models import FakePretrained
from tunefront.bench.forecast.synthetic import SyntheticRows
from tunefront.bench.models.config import check_backbone, warnings_of

EVIL = "evil/kernel"
OWN_CODE = {name: f"own.{name}" for name in ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")}
CONFIGS: dict[str, dict[str, Any]] = {
    "auto_map": {"auto_map": OWN_CODE},
    "auto_map of a repository": {"auto_map": {name: f"evil/code--{own}" for name, own in OWN_CODE.items()}},
    "attention": {"_attn_implementation": EVIL, "attn_implementation": EVIL, "_attn_implementation_internal": EVIL},
    "attention by part": {"attn_implementation": {"": EVIL, "text_config": f"{EVIL}@main:attend"}},
    "paged attention": {"_attn_implementation": f"paged|{EVIL}"},
    "experts": {"experts_implementation": EVIL, "_experts_implementation": EVIL},
    "in a part": {"text_config": {"_attn_implementation": EVIL, "auto_map": OWN_CODE}},
    "kernels": {"use_kernels": True, "kernel_config": {"kernel_mapping": {"RMSNorm": f"{EVIL}:Norm"}}},
    "layers": {"per_layer_config": {"0": {"_attn_implementation": EVIL}}},
    "quantised": {
        "quantization_config": {"quant_method": "evil", "modules_to_not_convert": [EVIL], "auto_map": OWN_CODE}
    },
    "elsewhere": {"_name_or_path": EVIL, "name_or_path": EVIL, "base_model_name_or_path": EVIL, "model_name": EVIL},
    "files": {
        "extra_files": ["../../evil"],
        "extra_config_files": ["../../evil"],
        "transformers_weights": "../evil.bin",
    },
    "class": {"_auto_class": "own.Config", "custom_pipelines": {"x": {"impl": "own.P"}}, "custom_generate": EVIL},
    "tokenizer": {"tokenizer_class": "own.Tokenizer"},
    "model_type": {"model_type": "../own"},
    "plan": {"base_model_tp_plan": {"*": "own"}, "sub_configs": {"a": "own"}, "distributed_config": {"a": 1}},
}
TOKENIZERS: dict[str, dict[str, Any]] = {
    "auto_map": {"auto_map": {"AutoTokenizer": ["own.Tokenizer", "own.Tokenizer"]}, "tokenizer_class": "Tokenizer"},
    "auto_map of a repository": {"auto_map": {"AutoTokenizer": ["evil/code--own.Tokenizer", None]}},
    "auto_map as a list": {"auto_map": ["own.Tokenizer", None]},
    "class": {"tokenizer_class": "own.Tokenizer", "name_or_path": EVIL},
    "chat template": {
        "chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}{% for a in range(10**9) %}{% endfor %}"
    },
    "file": {"tokenizer_file": "/etc/passwd", "vocab_file": "/etc/passwd", "fix_mistral_regex": True},
    "mistral": {"mistral_format": True, "backend": "mistral-common"},
    "processor": {"processor_class": "own.Processor", "backend": "custom"},
}


@pytest.fixture(autouse=True)
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Records every use of the network and every new process, and makes the libraries believe that they are online."""
    attempts: list[object] = []

    def refuse(*args: object, **_: object) -> None:
        attempts.append(args)
        raise OSError("there is no network here")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return attempts


def hostile(folder: str, to: Path) -> Path:
    """A copy with custom code next to the weights; the code leaves a file if it runs."""
    copied = copy_of(folder, to)
    for name in (
        "own",
        "configuration_own",
        "modeling_own",
        "tokenization_own",
        "__init__",
        "conftest",
        "sitecustomize",
    ):
        (copied / f"{name}.py").write_text(
            f"open({str(to.parent / 'ran')!r}, 'w')\nraise SystemExit(3)\n", encoding="utf-8"
        )
    (copied / "chat_template.jinja").write_text(
        "{{ cycler.__init__.__globals__.os.system('touch ran') }}", encoding="utf-8"
    )
    (copied / "custom_generate").mkdir()
    (copied / "custom_generate" / "generate.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    return copied


def use(folder: Path) -> None:
    """Does everything that a run and a plan do with a model's files."""
    with contextlib.suppress(UserError):  # also a valid end
        check_backbone(str(folder))
        warnings_of(str(folder))
        backbone = fresh_copy(str(folder))
        with torch.no_grad():
            backbone.score(encode(backbone).batch(range(2)))
        assert EVIL not in str(vars(backbone.model.config))
        assert backbone.model.config._attn_implementation in ("sdpa", "eager")
    with contextlib.suppress(UserError):
        FakePretrained(str(folder), SyntheticRows())


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_no_configuration_runs_code_or_uses_the_network(
    kind: str, name: str, folders: dict[str, str], tmp_path: Path, attempts: list[object]
) -> None:
    folder = hostile(folders[name], tmp_path / "copy")
    fields = json.loads((folder / "config.json").read_text("utf-8")) | CONFIGS[kind]
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    use(folder)
    assert attempts == []
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("whole", [True, False], ids=["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_no_tokenizer_configuration_runs_code_or_uses_the_network(
    kind: str, whole: bool, backbones: dict[str, str], tmp_path: Path, attempts: list[object]
) -> None:
    folder = hostile(backbones["bert"], tmp_path / "copy")
    fields = json.loads((folder / "tokenizer_config.json").read_text("utf-8")) | TOKENIZERS[kind]
    (folder / "tokenizer_config.json").write_text(json.dumps(fields), encoding="utf-8")
    if not whole:
        vocabulary = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), encoding="utf-8")
    use(folder)
    assert attempts == []
    assert not (tmp_path / "ran").exists()


def test_no_generation_configuration_is_read(
    language_models: dict[str, str], tmp_path: Path, attempts: list[object]
) -> None:
    folder = hostile(language_models["llama"], tmp_path / "copy")
    hostile_fields = {"custom_generate": EVIL, "compile_config": {"backend": "own"}, "cache_implementation": EVIL}
    (folder / "generation_config.json").write_text(json.dumps(hostile_fields), encoding="utf-8")
    check_backbone(str(folder))
    assert EVIL not in str(fresh_copy(str(folder)).model.generation_config.to_dict())
    assert attempts == []


def test_an_adapter_is_not_loaded_from_elsewhere(
    backbones: dict[str, str], tmp_path: Path, attempts: list[object]
) -> None:
    folder = hostile(backbones["bert"], tmp_path / "copy")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": EVIL}), encoding="utf-8")
    with pytest.raises(UserError, match="PEFT adapter"):
        check_backbone(str(folder))
    assert attempts == []


def test_transformers_is_of_a_version_without_the_known_holes() -> None:
    """CVE-2026-4372 is fixed in 5.3, CVE-2026-5241 in 5.5; a path traversal is reported before 5.10."""
    import tomllib

    listed = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    floor = next(parsed for text in listed if (parsed := Requirement(text)).name == "transformers").specifier
    assert not floor.contains("5.9.9")
    assert floor.contains(version("transformers"))
    pinned = ROOT.joinpath("constraints.txt").read_text("utf-8").partition("\ntransformers==")[2].split()[0]
    assert Version(pinned) >= Version("5.10")
