"""The shared data folder: all of it loads, with the overlaps that its README states."""

import json
import re

import pytest

from tests import SHARED
from tunefront.bench.data.sources import load_task
from tunefront.bench.data.sources.folder import few_shot

DATA = SHARED / "data"
FOLDERS = sorted(meta.parent.name for meta in DATA.glob("*/meta.json"))

pytestmark = pytest.mark.skipif(not FOLDERS, reason="../shared/data is not next to this checkout")


@pytest.fixture(params=FOLDERS or ["none"])
def name(request) -> str:
    return request.param


def test_every_folder_loads_with_the_rows_that_it_says(name):
    task = load_task(f"dir:{DATA / name}")
    meta = json.loads((DATA / name / "meta.json").read_text())
    assert {split: len(rows) for split, rows in task.splits.items()} == meta["num_rows"]
    assert task.label_names == tuple(meta["label_names"])
    assert task.kind == meta["task_type"]


def test_overlaps_are_those_that_the_readme_states(name):
    stated = re.findall(r"(\d+) (validation|test) rows also in (train|validation)", _line(name))
    found = r": (\d+) of \d+ (\w+) rows also occurs? in (\w+)"
    actual = [re.search(found, warning) for warning in load_task(f"dir:{DATA / name}").warnings]
    assert [match.groups() for match in actual if match] == stated


def test_every_published_draw_is_read(name):
    task = load_task(f"dir:{DATA / name}")
    for file in (DATA / name).glob("few_shot/*/*.jsonl"):
        rows, source = few_shot(task, len(file.read_text("utf-8").splitlines()), int(file.stem))
        assert source == f"few_shot/{file.parent.name}"
        assert {row.label for row in rows} <= set(range(len(task.label_names)))


def _line(name: str) -> str:
    table = (DATA / "README.md").read_text("utf-8").split("## Where the rows differ")[1]
    return next(line for line in table.splitlines() if line.startswith(f"| {name} |"))
