"""Records in any store that fsspec reaches."""

from __future__ import annotations

import fsspec
import pandas as pd
import pytest

from bench.records import Record
from bench.store import Store


def record(key: str) -> Record:
    return Record(key=key, status="ok", method="full", label="full", backbone="b", task="t", seed=3)


def test_a_url_holds_records_and_predictions() -> None:
    store = Store("memory://results/a")
    store.prepare()
    store.write(record("1" * 8), pd.DataFrame({"id": ["0"], "label": [1], "prediction": [1]}))
    store.write(record("2" * 8))
    assert store.read("1" * 8) == record("1" * 8)
    assert store.read("3" * 8) is None
    assert [found.key for found in store.records()] == ["1" * 8, "2" * 8]
    assert store.predictions("1" * 8)["prediction"].tolist() == [1]
    with store.claim("1" * 8) as mine:
        assert mine


def test_a_torn_record_behind_a_url_is_named_and_counts_as_none(caplog: pytest.LogCaptureFixture) -> None:
    store = Store("memory://results/b")
    store.write(record("1" * 8))
    fsspec.filesystem("memory").pipe_file("/results/b/records/11111111.json", b'{"key": "111')
    assert store.read("1" * 8) is None
    assert "11111111.json is not a whole record" in caplog.text
