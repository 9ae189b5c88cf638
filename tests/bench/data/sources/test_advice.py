"""What messages tell the user to do, in the words of the source: meta.json, options, or a folder for the Hub's rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefront.bench.data.sources.advice import FILE, FOLDER, HUB, Advice
from tunefront.bench.data.sources.declared import declared_names
from tunefront.bench.data.sources.meta import Meta
from tunefront.bench.data.sources.rows import read_rows
from tunefront.bench.data.sources.schema import infer_schema
from tunefront.bench.data.sources.tables import Problems, Table
from tunefront.bench.errors import UserErrors

TEXTS = [f"some words, number {place}" for place in range(12)]
CASES = {
    "a wrong label in test": ([1, 2] * 6, [1, 7]),
    "labels that may be values": ([*range(60, 84)], [60]),
    "several labels in a row": (["a,b", "b,a", "a", "b"] * 3, ["a"]),
    "one stray label": ([*(place / 7 for place in range(11)), "x"], [0.5]),
    "no label column": (None, [1]),
    "a column that gives the label away": (["x", "y"] * 6, ["x"]),
    "lists that may be answers": ([0, 1] * 6, [0]),
    "no inputs": ([0, 1] * 6, None),
    "a multiple choice without answers": ([0, 1] * 6, [0]),
    "classes with other names": ([0, 1] * 6, [0]),
}


def table(file: str, labels: list[object] | None, case: str) -> Table:
    rows = len(TEXTS) if labels is None else len(labels)
    records: list[dict[str, object]] = [{"text": f"some words, number {place}"} for place in range(rows)]
    for record, label in zip(records, labels or [], strict=False):
        record["label"] = label
    if case == "a column that gives the label away":
        records = [{**record, "code": f"/{record['label']}/1.txt"} for record in records]
    if case == "lists that may be answers":
        records = [{**record, "tags": [f"a{place}", "b"]} for place, record in enumerate(records)]
    if case == "no inputs":
        records = [{"label": record.get("label", 0), "n": place} for place, record in enumerate(records)]
    columns = tuple(dict.fromkeys(name for record in records for name in record))
    names = {"label": ("a", "b") if file == "train" else ("b", "a")} if case == "classes with other names" else {}
    places = [f"{file}, row {place}" for place in range(rows)]
    return Table(Path(f"{file}.jsonl"), columns, records, places, class_names=names)


def messages(case: str, advice: Advice) -> str:
    """All problems and warnings of a case."""
    train, test = CASES[case]
    tables = {"train": table("train", train, case), "test": table("test", test, case)}
    problems = Problems(advice=advice)
    meta = Meta(task_type="multiple choice") if "multiple choice" in case else Meta()
    meta = declared_names(tables, meta, problems)
    schema = infer_schema(tables["train"], meta, problems, tables)
    if schema is not None:
        read_rows(tables["test"], schema, problems)
    found = list(schema.warnings if schema else ())
    try:
        problems.raise_any()
    except UserErrors as error:
        found += error.messages
    assert found
    return "\n".join(found)


@pytest.mark.parametrize("case", CASES)
def test_a_folder_is_told_what_to_write_into_its_meta(case: str) -> None:
    said = messages(case, FOLDER)
    assert "meta.json" in said
    assert "--" not in said


@pytest.mark.parametrize("case", [case for case in CASES if case != "classes with other names"])
def test_a_file_is_told_which_option_to_add(case: str) -> None:
    said = messages(case, FILE)
    assert "meta.json" not in said
    assert "--" in said or "in separate columns named" in said


def test_a_file_cannot_rename_the_classes_of_its_metadata() -> None:
    assert "meta.json" not in messages("classes with other names", FILE)


@pytest.mark.parametrize("case", CASES)
def test_the_hubs_rows_are_to_be_saved_as_a_folder(case: str) -> None:
    said = messages(case, HUB)
    assert said.count("meta.json") == said.count("the meta.json of a folder with these rows (dir:FOLDER)") > 0
