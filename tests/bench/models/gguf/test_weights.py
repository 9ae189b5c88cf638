"""Models read from GGUF files are those that were written, number for number."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from tests.bench.models.gguf.files import permuted, write_model
from tunefront.bench.models.config import check_backbone
from tunefront.bench.models.gguf.architectures import ARCHITECTURES
from tunefront.bench.models.gguf.reading import GGUF
from tunefront.bench.models.gguf.rotation import llama3_factors
from tunefront.bench.models.locate import locate, stored_weights
from tunefront.bench.models.tiny import make_language_model

MODELS = ("llama", "mistral", "qwen2", "qwen3", "gpt2")
IDS = torch.arange(3, 43).reshape(2, 20)


@pytest.fixture(scope="module")
def originals(language_models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of models of every architecture that is read, and of Mistral's, which GGUF calls llama."""
    found = {name: Path(language_models[name]) for name in MODELS if name in language_models}
    qwen3 = tmp_path_factory.mktemp("original") / "qwen3"
    make_language_model(qwen3, "qwen2")
    config = json.loads((qwen3 / "config.json").read_text())
    return {**found, "qwen3": _qwen3(qwen3, config["vocab_size"])}


def _qwen3(folder: Path, tokens: int) -> Path:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen3Config(
        vocab_size=tokens,
        num_key_value_heads=1,
        head_dim=24,
        max_position_embeddings=256,
        initializer_range=0.2,
        **size,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(IDS).logits


def test_every_architecture_that_is_read_is_compared() -> None:
    assert set(ARCHITECTURES) == set(MODELS) - {"mistral"}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_written_and_read_is_the_same(name: str, originals: dict[str, Path], tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", originals[name])
    check_backbone(str(path))
    found, held = load_file(locate(str(path)) / "model.safetensors"), load_file(originals[name] / "model.safetensors")
    assert found.keys() == held.keys()
    assert all(np.array_equal(found[key], held[key]) for key in held)
    assert torch.equal(logits(locate(str(path))), logits(originals[name]))


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q4_1, Kind.Q8_0, Kind.Q4_K, Kind.Q6_K, Kind.Q5_K])
def test_quantised_weights_are_dequantised_as_gguf_does(kind: Kind, wide_llama: Path, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", wide_llama, kind)
    found = load_file(locate(str(path)) / "model.safetensors")
    reader = gguf.GGUFReader(path)
    expected = {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    embedding, query = found["model.embed_tokens.weight"], found["model.layers.0.self_attn.q_proj.weight"]
    assert np.array_equal(embedding, expected["token_embd.weight"])
    assert np.array_equal(permuted(query, 4), expected["blk.0.attn_q.weight"])
    assert np.array_equal(found["model.layers.0.mlp.down_proj.weight"], expected["blk.0.ffn_down.weight"])
    assert stored_weights(str(path)) == kind.name


def test_the_reader_finds_what_gguf_s_own_finds(wide_llama: Path, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", wide_llama, Kind.Q4_K)
    theirs = gguf.GGUFReader(path)
    with path.open("rb") as file:
        ours = GGUF(file, "it")
        assert {tensor.name: tensor.tensor_type.name for tensor in theirs.tensors} == {
            name: stored.kind for name, stored in ours.tensors.items()
        }
        for tensor in theirs.tensors:
            assert ours.tensors[tensor.name].start == tensor.data_offset
            assert ours.tensors[tensor.name].shape == tuple(tensor.shape[::-1].tolist())
        for name, value in ours.metadata.items():
            held = theirs.fields[name].contents()
            assert (value.tolist() if isinstance(value, np.ndarray) else value) == held


def test_transformers_reads_the_same_weights(wide_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="transformers reads GGUF files with accelerate only")
    path = write_model(tmp_path / "model.gguf", wide_llama, Kind.Q8_0)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    ours = AutoModelForCausalLM.from_pretrained(locate(str(path)), dtype=torch.float32)
    expected = dict(theirs.named_parameters())
    assert expected.keys() == dict(ours.named_parameters()).keys()
    assert all(torch.equal(parameter, expected[name]) for name, parameter in ours.named_parameters())


def test_scaling_of_llama_3_is_found_from_its_factors(tmp_path: Path) -> None:
    """The factors in the file are those that the original's rotation divides its frequencies by."""
    rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    original = make_language_model(
        tmp_path / "llama3", "llama", head_dim=64, rope_parameters=rope, max_position_embeddings=131072
    )
    model = AutoModelForCausalLM.from_pretrained(original)
    frequencies = model.model.rotary_emb.inv_freq.numpy()
    plain = 500000.0 ** (-np.arange(0, 64, 2) / 64)
    factors = llama3_factors(500000.0, 64, 32.0)
    assert np.allclose(plain / frequencies, factors, rtol=1e-5)
    path = write_model(tmp_path / "model.gguf", original, extra=[("rope_freqs.weight", factors, Kind.F32)])
    assert torch.equal(logits(locate(str(path))), logits(original))
