"""Poolings of sentence-transformers folders, before and since 5.4, and modules after the pooling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from tests.bench.models.folders import copy_of
from tests.toys import encode, fresh_copy
from tunefront.bench.errors import UserError
from tunefront.bench.models.config import check_backbone, warnings_of
from tunefront.bench.models.pooling import folder_pooling


def pooled(folder: Path, config: Any, place: str = "1_Pooling") -> Path:
    (folder / place).mkdir(parents=True)
    (folder / place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def modules(folder: Path, *listed: tuple[str, str]) -> Path:
    content = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (kind, path) in enumerate(listed)]
    (folder / "modules.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


TRANSFORMER = ("sentence_transformers.models.Transformer", "")
POOLING = ("sentence_transformers.sentence_transformer.modules.pooling.Pooling", "1_Pooling")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True}, "mean"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode": ["cls"]}, "first"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "first"),
        ({"pooling_mode": "mean", "pooling_mode_cls_token": True}, "mean"),  # the library drops the older flags
    ],
)
def test_the_modes_that_a_head_can_read(
    config: dict[str, Any], expected: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = pooled(copy_of(backbones["bert"], tmp_path / "copy"), config)
    check_backbone(str(folder))
    assert folder_pooling(folder) == expected
    assert fresh_copy(str(folder)).pooling == expected


@pytest.mark.parametrize(
    ("config", "facts"),
    [
        ({"pooling_mode": "max"}, "'max'"),
        ({"pooling_mode": "lasttoken"}, "'lasttoken'"),
        ({"pooling_mode": "weightedmean"}, "'weightedmean'"),
        ({"pooling_mode": ["mean", "max"]}, "'mean' and 'max'"),
        ({"pooling_mode": []}, "nothing"),
        ({"pooling_mode": None}, "'None'"),
        ({"pooling_mode": {"a": 1}}, "asks for the pooling"),
        ({"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "pooling_mode_cls_token"),
        ({}, "nothing"),
        ([], "must be a JSON object"),
    ],
)
def test_other_modes_are_reported_with_those_that_can_be_used(
    config: Any, facts: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = pooled(copy_of(backbones["bert"], tmp_path / "copy"), config)
    with pytest.raises(UserError, match=facts) as caught:
        check_backbone(str(folder))
    assert str(folder / "1_Pooling" / "config.json") in str(caught.value)


def test_a_decoder_is_read_at_its_last_token_whatever_the_folder_says(
    language_models: dict[str, str], tmp_path: Path
) -> None:
    folder = pooled(copy_of(language_models["qwen2"], tmp_path / "copy"), {"pooling_mode": "lasttoken"})
    check_backbone(str(folder))
    fresh_copy(str(folder))


def test_modules_json_names_the_folder_of_the_pooling(backbones: dict[str, str], tmp_path: Path) -> None:
    folder = pooled(copy_of(backbones["bert"], tmp_path / "copy"), {"pooling_mode": "mean"}, "2_Pool")
    assert folder_pooling(folder) is None
    modules(folder, TRANSFORMER, (POOLING[0], "2_Pool"))
    assert folder_pooling(folder) == "mean"


def test_modules_after_the_pooling_cause_a_warning(backbones: dict[str, str], tmp_path: Path) -> None:
    folder = pooled(copy_of(backbones["bert"], tmp_path / "copy"), {"pooling_mode": "mean"})
    assert warnings_of(str(modules(folder, TRANSFORMER, POOLING))) == []
    modules(folder, TRANSFORMER, POOLING, ("a.models.Dense", "2_Dense"), ("a.models.Normalize", "3_Normalize"))
    check_backbone(str(folder))
    assert "Dense and Normalize after the pooling" in warnings_of(str(folder))[0]
    assert warnings_of("minilm") == [], "the embedded one is known"


@pytest.mark.parametrize(
    ("listed", "facts"),
    [
        ([("a.models.WordEmbeddings", "")], "'WordEmbeddings'"),
        ([TRANSFORMER, (POOLING[0], "../other")], r"names the folder '\.\./other'"),
        ([TRANSFORMER, (POOLING[0], "/etc")], "names the folder '/etc'"),
    ],
)
def test_modules_that_cannot_be_used_are_reported(
    listed: list[tuple[str, str]], facts: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = modules(copy_of(backbones["bert"], tmp_path / "copy"), *listed)
    with pytest.raises(UserError, match=facts):
        check_backbone(str(folder))


@pytest.mark.parametrize("content", ["{}", "[1]", "[", "null"])
def test_an_invalid_list_of_modules_is_an_error(content: str, backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    (folder / "modules.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"modules\.json"):
        check_backbone(str(folder))


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "mpnet", "modernbert", "nomic_bert"])
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),  # E5, GTE, all-mpnet
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "first"),  # BGE
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "first"),
    ],
)
def test_folders_of_sentence_transformers_pool_as_they_say(
    family: str,
    config: dict[str, Any],
    expected: str,
    backbones: dict[str, str],
    more_backbones: dict[str, str],
    tmp_path: Path,
) -> None:
    folder = pooled(copy_of((backbones | more_backbones)[family], tmp_path / "copy"), config)
    modules(folder, TRANSFORMER, POOLING, ("sentence_transformers.models.Normalize", "2_Normalize"))
    check_backbone(str(folder))
    assert "Normalize after the pooling" in warnings_of(str(folder))[0]
    backbone: Any = fresh_copy(str(folder))
    assert backbone.pooling == expected
    rows = encode(backbone)
    plain = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = [plain(**rows.batch([row]).inputs).last_hidden_state[0] for row in range(4)]
        by_hand = torch.stack([each.mean(0) if expected == "mean" else each[0] for each in states])
        assert torch.allclose(backbone.features(rows.batch(range(4))), by_hand, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["xlm-roberta", "mpnet", "modernbert"])
def test_the_maximum_of_the_states_is_refused(family: str, more_backbones: dict[str, str], tmp_path: Path) -> None:
    folder = pooled(copy_of(more_backbones[family], tmp_path / "copy"), {"pooling_mode": "max"})
    with pytest.raises(UserError, match="'max'"):
        check_backbone(str(folder))
