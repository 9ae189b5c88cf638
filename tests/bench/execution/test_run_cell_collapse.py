"""A cell's record says whether its answers collapsed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import make_toy
from tunefront.bench.cells import Cell
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.records import Record
from tunefront.bench.settings import resolve_recipe
from tunefront.methods.spelling import parse


def ran(backbone: str, folder: Path, method: str = "full", **recipe: object) -> tuple[Record, pd.DataFrame]:
    chosen = parse(method)
    record, frame = run_cell(Cell(chosen, backbone, f"dir:{folder}", resolve_recipe(chosen, recipe), template=None))
    assert record.status == "ok", record.reason
    assert frame is not None
    return record, frame


@pytest.mark.parametrize("learning_rate", [1e-12, 3e-3])
def test_a_record_follows_from_the_predictions_beside_it(
    learning_rate: float, backbones: dict[str, str], tmp_path: Path
) -> None:
    record, frame = ran(backbones["bert"], make_toy(tmp_path / "toy"), learning_rate=learning_rate, steps=12)
    found, right, simple = record.collapse, frame["prediction"] == frame["label"], frame["label"] == 0
    ours, differing = int((right & ~simple).sum()), int((right != simple).sum())
    p_value = sum(math.comb(differing, wins) for wins in range(ours, differing + 1)) / 2**differing
    assert found.p_value == pytest.approx(p_value, rel=1e-9)
    assert found.answer_share == frame["prediction"].value_counts(normalize=True).max()
    assert (found.baseline_answer, found.baseline_share) == ("good", 0.5)
    assert found.one_answer is bool(found.answer_share >= 0.95)
    assert found.collapsed is bool(found.one_answer or p_value >= 0.05)


def test_the_constant_answer_follows_the_whole_train_split(backbones: dict[str, str], tmp_path: Path) -> None:
    """Half of the drawn rows have the rare label, but the split shows which label is commonest."""
    folder = make_toy(tmp_path / "toy")
    lines = folder.joinpath("train.jsonl").read_text(encoding="utf-8").splitlines()
    rare_good = [line for place, line in enumerate(lines) if place % 2 or place < 16]
    folder.joinpath("train.jsonl").write_text("\n".join(rare_good) + "\n", encoding="utf-8")
    record, _ = ran(backbones["bert"], folder, learning_rate=1e-12, steps=1)
    assert record.collapse.baseline_answer == "bad"
    assert record.scores.baseline == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    assert record.collapse.baseline_share == 0.5


def test_regression_is_never_marked(backbones: dict[str, str], tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = [{"text": f"word {place}", "label": place / 7} for place in range(24)]
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        tmp_path.joinpath(f"{split}.jsonl").write_text(text, encoding="utf-8")
    record, _ = ran(backbones["bert"], tmp_path, steps=1)
    assert record.data.task_kind == "regression"
    assert record.collapse.model_dump(exclude_none=True) == {}
