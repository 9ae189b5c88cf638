"""Reports of several results folders: `results` as a filter, folders in messages and tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tests.bench.records.made import changed
from tests.reports.factory import grid, record, sha
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record, Records, Stored
from tunefront.bench.records.merge import merge
from tunefront.reports import write
from tunefront.reports.compare.checks import check
from tunefront.reports.compare.filters import in_folders
from tunefront.reports.sections.provenance import record_columns, record_table

A, B = "data/a", "data/b"
METHODS = ("full", "ia3")


def recipe(**changes: object) -> dict[str, object]:
    return {**record().recipe, **changes}


def both(*, differing: bool = False) -> Records:
    """Seed 0 in a, seeds 0 and 1 in b; the copy in b is used."""
    first, second = grid(METHODS, ("sst2",), (0,)), grid(METHODS, ("sst2",), (0, 1))
    if differing:
        first = [changed(one, {"scores.test": {"accuracy": 0.1}}) for one in first]
    return merge([*(Stored(B, one) for one in second), *(Stored(A, one) for one in first)])


def test_results_selects_the_records_of_a_folder_those_in_another_too() -> None:
    chosen, rest = in_folders(both(differing=True), ["results=data/a", "dtype=float32"])
    assert [one.score for one in chosen] == [0.1, 0.1]
    assert isinstance(chosen, Records)
    assert set(chosen.places.values()) == {A}
    assert rest == {"dtype": ["float32"]}


@pytest.mark.parametrize("where", ["results=a", "results=data/a/", "results=./data/a", "results!=b"])
def test_a_folder_has_several_spellings(where: str) -> None:
    chosen, _ = in_folders(both(), [where])
    assert isinstance(chosen, Records)
    assert set(chosen.places.values()) == {A}


def test_two_folders_are_both_selected() -> None:
    chosen, _ = in_folders(both(), {"results": ["a", "b"]})
    assert len(chosen) == 4


@pytest.mark.parametrize("value", ["c", "ta/a", "", "/", "data"])
def test_an_unknown_folder_is_refused_with_the_known_ones(value: str) -> None:
    with pytest.raises(UserError) as error:
        in_folders(both(), {"results": value})
    assert A in str(error.value)
    assert B in str(error.value)


def test_records_of_no_folder_cannot_be_selected_by_it() -> None:
    with pytest.raises(UserError, match="results"):
        in_folders([record()], ["results=a"])


def test_a_list_without_the_filter_is_unchanged() -> None:
    records = [record()]
    assert in_folders(records, ["dtype=float32"])[0] is records


def places(**records: Record) -> tuple[list[Record], dict[str, str]]:
    return list(records.values()), {one.key: folder for folder, one in records.items()}


def test_a_message_names_the_folders_of_each_value_and_those_to_leave_out() -> None:
    records, known = places(a=record(), b=record(seed=1, recipe=recipe(dtype="bfloat16")), c=record(seed=2))
    with pytest.raises(UserError) as error:
        check(records, known)
    assert "(bfloat16 in b, float32 in a and c)" in str(error.value)
    assert "--where dtype=float32, or leave out b." in str(error.value)


def test_a_folder_that_holds_both_values_is_not_to_be_left_out() -> None:
    records, known = places(a=record(), b=record(seed=1, recipe=recipe(dtype="bfloat16")))
    extra = record(seed=2)
    with pytest.raises(UserError) as error:
        check([*records, extra], {**known, extra.key: "b"})
    assert "bfloat16 in b, float32 in a and b" in str(error.value)
    assert "leave out" not in str(error.value)


def test_rows_of_a_task_that_differ_name_their_folders() -> None:
    other = record(seed=1, fingerprints={**record().fingerprints, "task": sha("other rows")})
    records, known = places(a=record(), b=other)
    with pytest.raises(UserError) as error:
        check(records, known)
    assert f"{sha('sst2')[:12]} in a" in str(error.value)
    assert f"{sha('other rows')[:12]} in b" in str(error.value)


def test_one_folder_is_not_named() -> None:
    records, known = places(a=record(), b=record(seed=1, recipe=recipe(dtype="bfloat16")))
    with pytest.raises(UserError) as error:
        check(records, dict.fromkeys(known, "a"))
    assert "(bfloat16, float32)" in str(error.value)


def test_many_folders_are_counted() -> None:
    odd = record(seed=9, recipe=recipe(dtype="bfloat16"))
    records, known = places(odd=odd, **{f"f{seed}": record(seed=seed) for seed in range(6)})
    with pytest.raises(UserError, match="float32 in f0 and f1 and f2 and 3 more"):
        check(records, known)


def test_a_cell_under_two_keys_names_the_folder_if_only_that_tells_them_apart() -> None:
    records, known = places(a=record(), b=record().model_copy(update={"key": "f" * 64}))
    with pytest.raises(UserError) as error:
        check(records, known)
    assert "results differs (a, b)" in str(error.value)
    assert "--where results=" in str(error.value)
    assert "prune" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"versions": {"torch": "2.8.0", "transformers": "5.0.0"}}, "tunefront prune RESULTS"),
        ({"fingerprints": {**record().fingerprints, "method": sha("older")}}, "tunefront prune RESULTS"),
        ({"fingerprints": {**record().fingerprints, "task": sha("older")}}, "tunefront prune --other-data RESULTS"),
    ],
)
def test_a_cell_twice_in_one_folder_says_what_deletes_the_older(changes: dict[str, Any], command: str) -> None:
    records, known = places(a=record(), b=record(**changes))
    with pytest.raises(UserError) as error:
        check(records)
    assert command in str(error.value)
    with pytest.raises(UserError) as error:
        check(records, known)  # prune looks at one folder at a time
    assert "prune" not in str(error.value)


def test_records_of_other_cells_need_no_prune() -> None:
    with pytest.raises(UserError) as error:
        check([record(), record(seed=1, fingerprints={**record().fingerprints, "method": sha("older")})])
    assert "prune" not in str(error.value)


def test_control_characters_in_a_folder_do_not_reach_the_message() -> None:
    records, known = places(**{"a\x1b[31m": record(), "b": record(seed=1, recipe=recipe(dtype="bfloat16"))})
    with pytest.raises(UserError) as error:
        check(records, known)
    assert "\x1b" not in str(error.value)


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "report.csv").read_text(encoding="utf-8"))))


def test_the_report_names_folders_only_if_there_are_several(tmp_path: Path) -> None:
    write(both(), tmp_path / "both", ["csv", "md"])
    assert "results" not in rows_of(tmp_path / "both")[0]  # every record that is used is in b
    assert "results folder" not in (tmp_path / "both" / "report.md").read_text(encoding="utf-8")


def test_records_of_two_folders_are_in_the_report_with_their_folders(tmp_path: Path) -> None:
    records = merge([*(Stored(A, one) for one in grid(METHODS, ("sst2",), (0,))), Stored(B, record(seed=1))])
    write(records, tmp_path, ["csv", "md"])
    assert [row["results"] for row in rows_of(tmp_path)].count(B) == 1
    assert f"| results folder | {A} (2), {B} (1) |" in (tmp_path / "report.md").read_text(encoding="utf-8")
    table = record_table(records, record_columns({"sst2": "sst2"}, records, records.places))
    assert [[cell.text for cell in row][-2] for row in table.rows] == [A, A, B]


def test_the_password_of_a_url_is_in_no_file_of_a_report(tmp_path: Path) -> None:
    there = "memory://ann:secret@host/a"
    first = [changed(one, {"scores.test": {"accuracy": 0.1}}) for one in grid(METHODS, ("sst2",), (0,))]
    stored = [*(Stored(there, one) for one in first), *(Stored(B, one) for one in grid(METHODS, ("sst2",), (0, 1)))]
    write(merge(stored), tmp_path, ["html", "csv", "md"])
    texts = [
        path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.suffix in (".html", ".csv", ".md")
    ]
    assert any("ann:***@host" in text for text in texts)
    assert all("secret" not in text for text in texts)


def test_different_scores_of_a_cell_are_a_warning_in_the_report(tmp_path: Path) -> None:
    write(both(differing=True), tmp_path / "all", ["md"])
    assert "different scores" in (tmp_path / "all" / "report.md").read_text(encoding="utf-8")
    write(both(differing=True), tmp_path / "one", ["md"], where=["results=a"])
    assert "different scores" not in (tmp_path / "one" / "report.md").read_text(encoding="utf-8")
