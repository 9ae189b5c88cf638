"""A tiny model as a GGUF file."""

from __future__ import annotations

from tests.bench.models.gguf.conftest import llama_gguf

__all__ = ["llama_gguf"]
