"""Lengths above a backbone's limit are refused from its configuration alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.forecast.limits import MOST_TOKENS, TooLong, configuration, most_tokens
from tunefront.bench.forecast.limits import check as check_lengths
from tunefront.bench.forecast.presets import config_of, presets, same_letters
from tunefront.bench.forecast.request import PlanRequest, check
from tunefront.bench.forecast.synthetic import SyntheticRows
from tunefront.bench.models.families.encoder import longest_input
from tunefront.bench.suites.overrides import Overrides
from tunefront.methods.sites import SITES


class Model:
    """The part of a model that a family reads to limit the length of texts."""

    def __init__(self, config: Any):
        self.config = config


class Endless:
    model_max_length = 10**9


def exact(model_type: str, config: Any) -> int | None:
    """The limit of the family itself."""
    from tunefront.bench.models.families import LANGUAGE_MODELS
    from tunefront.bench.models.families.language import Prompting
    from tunefront.bench.templates import find_template

    family = SITES[model_type].family
    if family == "encoder":
        return longest_input(config, Endless())  # type: ignore[arg-type]
    backbone: Any = object.__new__(LANGUAGE_MODELS[family])
    backbone.model, backbone.prompting = Model(config), Prompting(find_template(SyntheticRows().task(family), None))
    room: int | None = backbone.room
    return room


@pytest.mark.parametrize("name", presets())
def test_the_limit_of_a_preset_is_that_of_its_family(name: str) -> None:
    preset = presets()[name]
    assert most_tokens(*configuration(name)) == exact(preset.model_type, config_of(name))  # type: ignore[arg-type]


@pytest.mark.parametrize("model_type", SITES)
def test_the_limit_of_an_empty_configuration_is_that_of_transformers(model_type: str) -> None:
    from transformers import AutoConfig

    assert most_tokens(model_type, {}) == exact(model_type, AutoConfig.for_model(model_type))


@pytest.mark.parametrize(
    ("model_type", "fields"),
    [
        ("bert", {"max_position_embeddings": 80}),
        ("roberta", {"max_position_embeddings": 80, "pad_token_id": 0}),
        ("xlm-roberta", {"max_position_embeddings": 80, "pad_token_id": 3}),
        ("mpnet", {"max_position_embeddings": 80, "pad_token_id": 3}),
        ("gpt2", {"n_positions": 64}),
        ("mistral", {"max_position_embeddings": 99, "sliding_window": None}),
        ("mistral", {"sliding_window": 70}),
        ("qwen2", {"sliding_window": 70, "use_sliding_window": False}),
        ("qwen2", {"sliding_window": 70, "use_sliding_window": True}),
        ("t5", {}),
    ],
)
def test_the_limit_follows_the_fields_of_a_file(model_type: str, fields: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoConfig

    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": model_type, **fields}), encoding="utf-8")
    assert most_tokens(*configuration(str(path))) == exact(model_type, AutoConfig.for_model(model_type, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"model_type": 3}', '{"model_type": "bert", "max_position_embeddings": "x"}']
)
def test_an_unreadable_configuration_sets_no_limit(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")
    check_lengths(str(path), SyntheticRows(tokens=5000))


def test_too_many_tokens_in_total_are_refused() -> None:
    with pytest.raises(TooLong, match="96 rows of 1,000,000 tokens") as caught:
        check_lengths("t5-v1.1-small", SyntheticRows(tokens=10**6))
    assert f"{MOST_TOKENS:,}" in str(caught.value)


def test_a_context_length_limits_only_language_models() -> None:
    with pytest.raises(TooLong, match="20 tokens"):
        check_lengths("gpt2", SyntheticRows(tokens=20), context_length=20)
    check_lengths("gpt2", SyntheticRows(tokens=19), context_length=20)
    check_lengths("t5-v1.1-small", SyntheticRows(tokens=20), context_length=20)
    check_lengths("bert-base", SyntheticRows(tokens=400), context_length=20)


def test_capitals_and_punctuation_name_the_nearest_preset() -> None:
    assert same_letters("BERT_base") == "bert-base"
    for length in (None, 16):
        with pytest.raises(UserError, match="'t0-3b'"):
            check(PlanRequest(overrides=Overrides(backbones=["T0_3B"]), length=length), ErrorCollector())


REFUSE = """
import sys
from tunefront.bench.cli.main import app
from typer.testing import CliRunner
arguments = {arguments!r}
result = CliRunner().invoke(app, ["plan", *arguments])
print(result.exit_code, "torch" in sys.modules, "transformers" in sys.modules)
print(result.output)
"""


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--backbone", "llama-3.1-8b", "--length", "1000000"], "131,072"),
        (["--backbone", "bert-base", "--length", "513"], "512 positions"),
        (["--backbone", "bert-base", "--length", "0"], "got 0"),
        (["--backbone", "bert-base", "--length", "99999999999999999999"], "at most 1,000,000"),
        (["--backbone", "bert-bse", "--length", "16"], "'bert-base'"),
        (["--backbone", "gpt2", "--length", "16", "--sweep", "length=16,2000"], "--sweep length"),
        (["--backbone", "gpt2", "--length", "16", "--sweep", "length=16,0"], "from 1"),
        (["--backbone", "gpt2", "--length", "16", "--shots", "0"], "shots"),
        (["--backbone", "gpt2", "--length", "16", "--shots", ","], "--shots"),
        (["--backbone", "gpt2", "--length", "16", "--device-memory", "80XB"], "80XB"),
        (["--backbone", " ", "--length", "16"], "--backbone"),
        (["--backbone", "no/config.json", "--length", "16"], "no/config.json"),
    ],
)
def test_it_is_refused_before_any_library_is_imported(arguments: list[str], fact: str) -> None:
    """Importing torch and transformers takes seconds, tokenising rows and making a model many more."""
    code = REFUSE.format(arguments=arguments)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, _, output = result.stdout.partition("\n")
    assert first == "2 False False", result.stdout + result.stderr
    assert fact in output
    assert "Traceback" not in output
