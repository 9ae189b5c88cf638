"""Stored predictions as arrays: files of others may claim anything."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tunefront.bench.records import answers
from tunefront.bench.records.answers import AnswerFiles


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_more_rows_than_anybody_scores_are_not_read(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes of Parquet have a billion equal rows, and a record may say so too."""
    place = str(tmp_path) if where == "folder" else f"memory://{tmp_path.name}"
    rows = pd.DataFrame({"id": list("abc"), "label": [0, 1, 0], "prediction": [1, 1, 0]})
    rows.to_parquet(f"{place}/predictions/1.parquet" if where == "memory" else made(tmp_path))
    for limit, is_read in ((3, True), (2, False)):
        monkeypatch.setattr(answers, "MOST_ROWS", limit)
        for said in (3, None):
            assert (AnswerFiles({"1": place}).read("1", said) is not None) == is_read
    assert AnswerFiles({"1": place}).read("1", 2) is None


def made(folder: Path) -> Path:
    (folder / "predictions").mkdir()
    return folder / "predictions" / "1.parquet"
