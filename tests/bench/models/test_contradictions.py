"""A config.json that names two architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.models.folders import copy_of
from tunefront.bench.models.config import warnings_of


@pytest.mark.parametrize(
    ("name", "architectures", "other"),
    [
        ("roberta", ["BertForMaskedLM"], "bert"),
        ("bert", ["RobertaModel"], "roberta"),
        ("bert", ["BertModel"], None),
        ("bert", ["BertForPreTraining"], None),
        ("bert", ["NoSuchModel"], None),
        ("bert", "BertModel", None),
        ("bert", [None, 3], None),
        ("gpt2", ["GPT2LMHeadModel"], None),
        ("gpt2", ["OPTForCausalLM"], "opt"),
        ("llama", None, None),
    ],
)
def test_a_class_of_another_architecture_causes_a_warning(
    name: str, architectures: Any, other: str | None, folders: dict[str, str], tmp_path: Path
) -> None:
    warnings = warnings_of(str(copy_of(folders[name], tmp_path / "copy", architectures=architectures)))
    assert len(warnings) == (other is not None)
    for warning in warnings:
        assert all(text in warning for text in (f"model_type {name},", f"architectures {architectures[0]},", other))
