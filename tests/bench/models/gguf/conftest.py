"""Tiny models and their GGUF files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.models.gguf.files import write_model
from tunefront.bench.models.tiny import make_language_model


@pytest.fixture(scope="session")
def wide_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of one block whose rows hold whole blocks of every quantisation, with fewer heads for keys."""
    size = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4}
    folder = tmp_path_factory.mktemp("wide") / "llama"
    return make_language_model(folder, "llama", num_key_value_heads=2, tie_word_embeddings=True, head_dim=64, **size)


@pytest.fixture(scope="session")
def llama_gguf(language_models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny llama as a GGUF file of float32 weights."""
    return write_model(tmp_path_factory.mktemp("gguf") / "llama.gguf", Path(language_models["llama"]))
