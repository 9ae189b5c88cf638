"""The record: allowed values, and the descriptions of its fields."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from tunefront.bench.errors import UserError
from tunefront.bench.records import (
    GROUPS,
    SCHEMA_VERSION,
    CorruptRecord,
    Data,
    Latency,
    OtherCell,
    OtherVersion,
    Parameters,
    Percentiles,
    Record,
    Scores,
    Seconds,
    Storage,
    leaves,
    load_plans,
    load_records,
    read_record,
    set_aside,
)
from tunefront.bench.records.frame import to_frame
from tunefront.bench.records.record import RECIPE_FIELDS, SETTINGS_FIELDS
from tunefront.bench.records.store import Store

MINIMAL = {"key": "a" * 8, "status": "ok", "method": "full", "label": "full", "backbone": "b", "task": "t"}


def test_every_field_says_what_it_means() -> None:
    every = {**Record.model_fields, **leaves()}
    assert len(every) > 90
    assert [name for name, field in every.items() if not (field.description or "").strip()] == []


def test_the_denominator_of_percentages_says_what_is_left_out() -> None:
    assert "without a pooler that is not used" in str(leaves()["parameters.backbone"].description)


def test_what_was_not_measured_is_null_and_never_zero() -> None:
    kept = json.loads(Record(**MINIMAL).model_dump_json())
    measured = [value for group in GROUPS for value in kept[group].values()]
    assert len(measured) > 60
    assert set(measured) == {None}


def test_what_is_kept_for_a_task_is_the_checkpoint_and_the_demonstrations() -> None:
    kept = [
        Record(
            **MINIMAL,
            parameters=Parameters(trainable=trained),
            storage=Storage(checkpoint_bytes=checkpoint, demonstration_bytes=text),
        ).task_bytes
        for trained, checkpoint, text in ((5, 20, None), (0, None, 300), (5, 20, 300), (0, None, None))
    ]
    assert kept == [20, 300, 320, 0]
    assert Record(**MINIMAL).task_bytes is None
    assert Record(**MINIMAL, parameters=Parameters(trainable=5)).task_bytes is None


def test_a_record_survives_its_file_unchanged(tmp_path: Path) -> None:
    record = Record(
        **MINIMAL,
        scores=Scores(test={"accuracy": 1 / 3, "pearson": None}),
        data=Data(train_ids=("1", "2")),
        seconds=Seconds(train=0.1),
    )
    path = tmp_path / "records" / f"{record.key}.json"
    path.parent.mkdir()
    path.write_text(record.model_dump_json(), encoding="utf-8")
    assert read_record(path) == record


def test_a_record_is_immutable_and_knows_no_other_fields() -> None:
    with pytest.raises(ValidationError):
        Record(**MINIMAL).status = "failed"
    with pytest.raises(ValidationError):
        Record(**MINIMAL).flops.train = 3
    with pytest.raises(ValidationError):
        Record(**MINIMAL, accuracy=1.0)


@pytest.mark.parametrize("change", [{"seconds": {"train": -1}}, {"parameters": {"trainable": 1.5}}, {"status": "done"}])
def test_a_value_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Record(**{**MINIMAL, **change})


@pytest.mark.parametrize("content", [b"", b'{"key": "aaaa', b"\xff\xfe", b"\0" * 400])
def test_a_torn_file_is_named_and_left_as_it_is(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "records" / "aaaaaaaa.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CorruptRecord, match=r"aaaaaaaa\.json"):
        read_record(path)
    assert load_records(tmp_path) == []
    assert "aaaaaaaa.json" in caplog.text
    assert [(entry.name, entry.read_bytes()) for entry in path.parent.iterdir()] == [("aaaaaaaa.json", content)]


@pytest.mark.parametrize("content", [json.dumps(MINIMAL), json.dumps({**MINIMAL, "schema_version": 1})])
def test_a_record_that_took_the_place_of_a_torn_one_is_not_set_aside(content: str, tmp_path: Path) -> None:
    """Two processes read the torn one; the second renames when the first has run the cell again."""
    path = tmp_path / f"{MINIMAL['key']}.json"
    path.write_text(content, encoding="utf-8")
    set_aside(path, CorruptRecord(str(path), "it was torn"))
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [(path.name, content)]


def test_what_was_set_aside_earlier_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    for content in ("{", "[", "1 2"):
        (tmp_path / "records" / "aaaaaaaa.json").write_text(content, encoding="utf-8")
        assert store.read("aaaaaaaa") is None
    kept = sorted((tmp_path / "records").iterdir())
    assert [path.read_text(encoding="utf-8") for path in kept] == ["{", "[", "1 2"]


def test_a_whole_record_under_another_cells_name_is_named_and_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.prepare()
    path = tmp_path / "records" / "bbbbbbbb.json"
    path.write_text(Record(**MINIMAL).model_dump_json(), encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(OtherCell, match="another cell"):
        read_record(path)
    with pytest.raises(UserError, match=f"bbbbbbbb.json .*{MINIMAL['key']}.json"):
        store.read("bbbbbbbb")
    assert load_records(tmp_path) == []
    assert "bbbbbbbb.json contains the record of another cell" in caplog.text
    assert [(entry.name, entry.read_bytes()) for entry in path.parent.iterdir()] == [(path.name, before)]


def test_a_line_feed_in_a_files_name_does_not_break_the_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    contents = ("{", json.dumps({**WHOLE, "key": "other"}), json.dumps({**WHOLE, "schema_version": SCHEMA_VERSION + 1}))
    for content in contents:
        (folder / f"a\nerror: b\x1b[31m\t{len(content)}.json").write_text(content, encoding="utf-8")
    (folder / "c\nd.json").mkdir()
    assert load_records(tmp_path) == []
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines), lines
    assert sum("a\\nerror: b\\x1b[31m\\t" in line for line in lines) == 3
    for path in folder.iterdir():
        with pytest.raises((CorruptRecord, UserError)) as error:
            read_record(path)
        assert str(error.value).isprintable()


RECIPE, SETTINGS = dict.fromkeys(RECIPE_FIELDS, 1), dict.fromkeys(SETTINGS_FIELDS, 1)
WHOLE = json.loads(Record(**{**MINIMAL, "key": "a" * 8}).model_dump_json())


def altered(group: str, **leaves: object) -> str:
    """A complete record, except for some fields of a group."""
    return json.dumps({**WHOLE, group: {**WHOLE[group], **leaves}})


LACKING = {name: value for name, value in WHOLE.items() if name != "shots"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (json.dumps({**WHOLE, "schema_version": 99}), "schema_version is 99"),
        (json.dumps({**WHOLE, "schema_version": 1, "carbon_grams": 1.5}), "schema_version is 1"),
        (json.dumps({**WHOLE, "schema_version": None}), "schema_version is None"),
        (json.dumps({**WHOLE, "carbon_grams": 1.5}), "carbon_grams"),
        (json.dumps(LACKING), "shots"),
        (altered("flops", grams=1.5), "flops.grams: unknown here"),
        (json.dumps({**WHOLE, "flops": {}}), ": missing"),
        (json.dumps({**WHOLE, "flops": None}), "flops"),
        (json.dumps({**WHOLE, "flops": 3}), "flops"),
        (json.dumps({**WHOLE, "status": "paused"}), "status"),
        (json.dumps({**WHOLE, "recipe": {**RECIPE, "momentum": 0.9}}), "recipe.momentum: unknown here"),
        (json.dumps({**WHOLE, "recipe": {**RECIPE, "momentum": 1, "a": 1, "b": 1, "c": 1}}), "recipe.a"),
        (json.dumps({**WHOLE, "recipe": {k: v for k, v in RECIPE.items() if k != "clip_norm"}}), "recipe.clip_norm"),
        (json.dumps({**WHOLE, "settings": {**SETTINGS, "shuffle": True}}), "settings.shuffle: unknown here"),
        (json.dumps({**WHOLE, "settings": {"device": "cpu"}}), ": missing"),
        (altered("flops", phases={"distillation": {"counted": 1}}), "flops.phases.distillation"),
        (altered("memory", phases={"distillation": {"inputs": 1}}), "memory.phases.distillation"),
        (altered("seconds", steps={"x": None}), "seconds.steps.x"),
        (altered("seconds", train=-1), "seconds.train"),
        (altered("memory", phases={"load": {"inputs": -4}}), "memory.phases.load.inputs"),
        (altered("seconds", train=1e308), "1e+308"),
        (altered("scores", test={"accuracy": float("nan")}), "NaN"),
        (altered("scores", test={"accuracy": float("inf")}), "Infinity"),
        (json.dumps(WHOLE).replace('"shots": null', '"shots": ' + "9" * 5000), "999"),
        (json.dumps(WHOLE).replace('"shots": null', '"shots": ' + "[" * 90_000 + "]" * 90_000), "nested too deeply"),
        (json.dumps({**WHOLE, "label": "\ud800"}), ""),
        ("[]", "list"),
        ("null", "not a record"),
        ('{"key": "aaaaaaaa"}', "schema_version"),
    ],
)
def test_a_whole_file_of_other_fields_is_named_and_left_as_it_is(
    content: str, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(Record(**{**MINIMAL, "key": "bbbbbbbb"}))
    path = tmp_path / "records" / "aaaaaaaa.json"
    path.write_text(content, encoding="utf-8")
    assert [record.key for record in load_records(tmp_path)] == ["bbbbbbbb"]
    assert "aaaaaaaa.json was written by another version of tunefront" in caplog.text
    assert why in caplog.text
    with pytest.raises(OtherVersion, match="move it"):
        store.read("aaaaaaaa")
    assert issubclass(OtherVersion, UserError)
    assert path.read_text(encoding="utf-8") == content
    assert len(list(path.parent.iterdir())) == 2


def test_many_records_of_another_version_are_named_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    for number in range(36):
        content = {**WHOLE, "key": f"{number:08}", "carbon_grams": 1.5}
        folder.joinpath(f"{number:08}.json").write_text(json.dumps(content), encoding="utf-8")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert load_records(tmp_path) == []
    (line,) = (record.getMessage() for record in caplog.records)
    assert "36 files" in line
    assert "another version of tunefront (carbon_grams" in line
    assert "00000000.json" in line
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_plans_are_stored_next_to_the_records_and_read_the_same_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planned = Record(**{**MINIMAL, "status": "planned"})
    assert load_plans(tmp_path) == []
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / f"{planned.key}.json").write_text(planned.model_dump_json(), encoding="utf-8")
    (tmp_path / "plans" / "bbbbbbbb.json").write_text("{", encoding="utf-8")
    assert load_plans(tmp_path) == load_plans(f"file://{tmp_path}") == [planned]
    assert "bbbbbbbb.json" in caplog.text
    assert load_records(tmp_path) == []


def test_plans_behind_a_url_are_read() -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    assert load_plans("memory://plans-of-one") == []
    planned = Record(**{**MINIMAL, "status": "planned"})
    files.pipe_file(f"/plans-of-one/plans/{planned.key}.json", planned.model_dump_json().encode())
    assert load_plans("memory://plans-of-one/") == [planned]


def test_percentiles_are_columns_of_a_table() -> None:
    known = Latency(after_prefix=Percentiles(p50=0.1, p95=0.2, count=30))
    table = to_frame([Record(**MINIMAL, latency_seconds=known)])
    assert [name for name in table.columns if name.startswith("latency_seconds.")] == [
        f"latency_seconds.after_prefix.{name}" for name in Percentiles.model_fields
    ]
    assert table["latency_seconds.after_prefix.p95"][0] == 0.2
