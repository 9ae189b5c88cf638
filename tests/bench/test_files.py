"""Temporary files that killed processes leave."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tunefront.bench.data import cache
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.files import local_folder, sweep
from tunefront.bench.training.feature_cache import FeatureStore, RowValues


def left(folder: Path) -> set[str]:
    """Two temporary files, one of yesterday and one of now; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    old, new = folder / ".a.json.0.tmp", folder / ".b.json.0.tmp"
    for path, age in ((old, 25 * 3600), (new, 0)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    return {old.name, new.name}


def names(folder: Path) -> set[str]:
    """The temporary files in a folder."""
    return {path.name for path in folder.glob(".*.tmp")}


def test_only_files_older_than_a_day_are_removed(tmp_path: Path) -> None:
    left(tmp_path)
    sweep(tmp_path)
    assert names(tmp_path) == {".b.json.0.tmp"}
    sweep(tmp_path / "not there")


def test_the_caches_are_swept_when_they_are_written(tmp_path: Path) -> None:
    left(tmp_path)
    FeatureStore(tmp_path).write("key", RowValues(torch.ones(1, 2), 0.1, 2))
    assert names(tmp_path) == {".b.json.0.tmp"}
    left(tmp_path)
    rows = [Row("0", {"text": "a"}, 0), Row("1", {"text": "b"}, 1)]
    splits = {"train": rows, "test": rows}
    cache.save_cached(
        tmp_path / "task.jsonl", Task("t", "classification", splits, ("text",), ("x", "y"), (MetricSpec("accuracy"),))
    )
    assert (tmp_path / "task.jsonl").is_file()
    assert names(tmp_path) == {".b.json.0.tmp"}


LIMITED = """
import resource, sys
from pathlib import Path
from tunefront.bench.files import writing
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
try:
    with writing(Path(sys.argv[1])) as file:
        file.write(b"x" * 2000)
except OSError as error:
    print(error.filename)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits")
def test_a_file_that_may_not_be_so_large_is_named(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    result = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_url_with_localhost_is_a_folder(tmp_path: Path) -> None:
    assert local_folder(f"file://localhost{tmp_path}") == local_folder(f"file://{tmp_path}") == tmp_path
