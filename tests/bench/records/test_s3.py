"""Records at S3, against a real server."""

from __future__ import annotations

import pandas as pd

from tests.s3 import Server
from tunefront.bench.records import Record, load_records
from tunefront.bench.records.store import Store


def record(key: str) -> Record:
    return Record(key=key, status="ok", method="full", label="full", backbone="b", task="t", seed=3)


def test_s3_holds_records_and_predictions(s3: Server) -> None:
    store = Store(s3.new_url())
    store.prepare()
    store.write(record("1" * 8), pd.DataFrame({"id": ["0"], "label": [1], "prediction": [1]}))
    store.write(record("2" * 8))
    assert store.read("1" * 8) == record("1" * 8)
    assert store.read("3" * 8) is None
    assert [stored.key for stored in store.records()] == ["1" * 8, "2" * 8]
    assert store.predictions("1" * 8)["prediction"].tolist() == [1]
    assert store.read_all(["3" * 8, "2" * 8, "1" * 8]).keys() == {"2" * 8, "1" * 8}
    assert load_records(store.location) == store.records()


def test_a_cell_at_s3_is_held_by_one(s3: Server) -> None:
    store = Store(s3.new_url())
    other = Store(store.location)
    with store.claim("1" * 8) as mine, other.claim("1" * 8) as twice, other.claim("2" * 8) as another:
        assert (mine, twice, another) == (True, False, True)
    with other.claim("1" * 8) as mine:
        assert mine
    assert store.remote.listing("locks") == {}
