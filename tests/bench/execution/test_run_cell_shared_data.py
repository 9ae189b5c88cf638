"""Real tasks through all their templates and published draws, with tiny random models: everything fits together."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from typing import Any

import pytest

from tests import SHARED
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.records import Record
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides

DATA = SHARED / "data"
TASKS = {"rte": 10, "cb": 15, "copa": 8, "wic": 10}
"""Number of templates for the original task, without four of COPA's twelve that skip half of its rows."""

pytestmark = pytest.mark.skipif(not (DATA / "rte").is_dir(), reason="there is no ../shared/data")


@pytest.fixture(autouse=True)
def quick_garbage() -> Iterator[None]:
    """Excludes modules of earlier tests from the garbage collection after every cell."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def ran(name: str, models: list[str], method: str, templates: list[str] | None = None) -> list[Record]:
    """Cells of the first two published draws, on three rows of the scored split."""
    settings: dict[str, Any] = {"published_draws": True, "eval_rows": 3, "max_length": 48, "steps": 1, "batch_size": 2}
    overrides = Overrides(
        methods=[method],
        backbones=models,
        tasks=[f"dir:{DATA / name}"],
        shots=[32],
        draws=[0, 1],
        seeds=[0],
        templates=templates,
        settings=settings,
    )
    return [run_cell(cell)[0] for cell in expand("embedded", overrides).cells]


@pytest.mark.parametrize("name", TASKS)
def test_every_template_and_two_published_draws_give_cells_that_are_ok(
    name: str, language_models: dict[str, str]
) -> None:
    records = ran(name, [language_models["t5"], language_models["gpt2"]], "icl:k=2", ["all"])
    assert len(records) == 2 * 2 * TASKS[name]
    assert len({record.template for record in records}) == TASKS[name]
    for record in records:
        assert record.status == "ok", (record.backbone, record.template, record.reason)
        assert record.data.draw_source == "few_shot/32_shot"
        assert record.data.n_test == 3
        assert record.score is not None
        assert math.isfinite(record.score)
        (demonstrations,) = record.prompt.demonstration_ids or ()
        assert demonstrations == (record.data.train_ids or ())[:2]


@pytest.mark.parametrize("name", TASKS)
def test_a_trained_method_is_ok_or_skipped_with_its_reason(name: str, language_models: dict[str, str]) -> None:
    records = ran(name, [language_models["gpt2"], language_models["t5"]], "bitfit")
    assert [record.status for record in records] == ["ok", "ok", "skipped", "skipped"]
    assert all(record.training.steps == 1 for record in records[:2])
    assert all("no layer of the backbone has a bias" in (record.reason or "") for record in records[2:])
