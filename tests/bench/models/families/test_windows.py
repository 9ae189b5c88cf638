"""Attention windows: choices scored side by side fit within them; a trial finds windows with unknown names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from tests.bench.models.families.test_logits import added_model
from tests.bench.models.scoring.plain import plain_scores
from tests.toys import Listed, encode, fresh_copy, listed_task
from tunefront.bench.models.families import decoder, windows
from tunefront.bench.models.tiny import make_language_model

NEO = {"num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]], "window_size": 32}
LONG = listed_task([(f"Text: {'the film is long and dull ' * 4}{place}\nLabel:", "good|bad", 0) for place in range(2)])
LONG_ROTATION = {
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
    },
    "original_max_position_embeddings": 64,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "sliding_window": None,
}


@pytest.mark.parametrize(
    ("model_type", "fields", "limit"),
    [
        ("mistral", {"sliding_window": 70}, 70),
        ("mistral", {"sliding_window": None}, None),
        ("qwen2", {"sliding_window": 70, "use_sliding_window": True, "max_window_layers": 1}, 70),
        ("qwen2", {"sliding_window": 70, "use_sliding_window": False}, None),
        ("gpt_neo", {"window_size": 70}, 70),
        ("gpt_neo", {"window_size": 70, "attention_types": [[["global"], 24]]}, None),
        ("llama4_text", {"attention_chunk_size": 70}, 70),
        ("llama4_text", {"attention_chunk_size": 70, "layer_types": ["full_attention"] * 48}, None),
        ("modernbert-decoder", {"local_attention": 70}, 35),
        ("gemma3_text", {"sliding_window": 70}, 70),
        ("recurrent_gemma", {"attention_window_size": 70}, 70),
        ("phi3", LONG_ROTATION, 64),
        ("phi3", {"rope_parameters": {"rope_type": "default"}, "sliding_window": None}, None),
        ("llama", {"sliding_window": 70}, None),  # unknown to Llama
        ("gpt2", {"window_size": 70, "attention_chunk_size": 7}, None),
        ("qwen2", {"max_window_layers": 3}, None),
    ],
)
def test_the_window_follows_from_architecture_and_configuration(
    model_type: str, fields: dict[str, Any], limit: int | None
) -> None:
    assert windows.window(AutoConfig.for_model(model_type, **fields)) == limit


def neo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny GPT-Neo whose second layer sees 32 tokens, on longer prompts."""
    monkeypatch.setattr(decoder, "_SIDE_BY_SIDE", {})
    return fresh_copy(added_model(folder / "neo", "gpt_neo", **NEO), LONG, template=Listed())


def test_prompts_longer_than_a_window_are_cut_to_it_and_score_as_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = neo(tmp_path, monkeypatch)
    assert backbone.room == 32
    rows = encode(backbone, LONG, "test")
    assert all(rows.cut)
    batch = rows.batch(range(2))
    with torch.no_grad():
        scores = backbone.choice_logprobs(batch)
        for row, (query, choices) in enumerate(zip(rows.columns["input_ids"], rows.choices, strict=True)):
            for place, choice in enumerate(choices):
                logprobs = backbone.model(torch.cat([query, choice])[None]).logits[0].log_softmax(-1)
                own = logprobs[len(query) - 1 : -1].gather(1, choice[:, None])[:, 0]
                assert torch.allclose(scores[row, place, : len(choice)], own, atol=1e-4)


def test_a_long_row_changes_the_rotation_of_no_other(tmp_path: Path) -> None:
    """Beyond 64 tokens every token of the row would be rotated otherwise, and so would the short rows beside it."""
    short = ("Text: the film\nLabel:", "good|bad", 0)
    long = (f"Text: {'the film is long and dull ' * 20}\nLabel:", "good|bad", 0)
    folder = make_language_model(tmp_path / "phi3", "phi3", **LONG_ROTATION)
    task = listed_task([short, long, short])
    backbone: Any = fresh_copy(str(folder), task, template=Listed())
    assert backbone.room == 64
    rows = encode(backbone, task, "test", 1000)
    assert rows.cut == (False, True, False)
    with torch.no_grad():
        together = backbone.score(rows.batch(range(3)))
        alone = torch.cat([backbone.score(rows.batch([row])) for row in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(alone[:1], plain_scores(backbone.model, backbone.tokenizer, rows.prompts[:1]), atol=1e-5)


def test_a_window_with_an_unknown_name_is_found_by_a_longer_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this name were unknown: each choice is then scored in a separate row, and nothing is cut."""
    monkeypatch.setattr(windows, "WINDOWS", ())
    backbone = neo(tmp_path, monkeypatch)
    assert not backbone.side_by_side
    rows = encode(backbone, LONG, "test")
    assert backbone.room == 256
    assert not any(rows.cut)
    with torch.no_grad():
        scores = backbone.score(rows.batch(range(2)))
    assert torch.allclose(scores, plain_scores(backbone.model, backbone.tokenizer, rows.prompts), atol=1e-4)


def test_a_window_that_is_too_large_to_be_tried_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOWS", ())
    config = AutoConfig.for_model("gpt_neo", window_size=5000)
    assert (windows.window(config), windows.possible_window(config)) == (5000, None)
