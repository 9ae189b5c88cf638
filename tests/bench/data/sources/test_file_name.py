"""Names of tasks made of one's own files: what is written is what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefront.bench.data.sources.file_name import FileName, spelled
from tunefront.bench.data.sources.own_names import names_of
from tunefront.bench.errors import UserError

ODD = ("a?b.csv", "a&b=c,d.csv", "100%.csv", "%3F?%25&%26.csv", " a b.csv", "ä/ö?.csv")


@pytest.mark.parametrize("path", ODD)
@pytest.mark.parametrize("value", [*ODD, None])
def test_any_path_and_column_survives(path: str, value: str | None) -> None:
    name = FileName(path, test=value, label=value, text=tuple(filter(None, [value, "x,y"])), group=value)
    assert FileName.parse(str(name)) == name


def test_the_order_of_options_does_not_matter() -> None:
    one, other = "file:a.csv?label=x&split=0.30", "file:a.csv?split=0.3&label=x"
    assert spelled(one) == spelled(other)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("file:", "names no file"),
        ("file:a.csv?lable=x", "did you mean 'label'"),
        ("file:a.csv?label=", "needs a value"),
        ("file:a.csv?label=x&label=y", "twice"),
        ("file:a.csv?split=2", "below 1"),
        ("file:a.csv?kind=clasification", "did you mean 'classification'"),
    ],
)
def test_a_wrong_name_is_explained(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        FileName.parse(name)


def test_only_paths_of_files_become_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    assert spelled("a.csv", tmp_path) == spelled("dir:a.csv", tmp_path) == "file:a.csv"
    assert spelled("a.csv?label=x", tmp_path) == "file:a.csv?label=x"
    for name in ("docstrings/kind", "dir:nowhere", "hub:glue/sst2", "b.csv", "a\0b"):
        assert spelled(name, tmp_path) == name


def test_paths_are_moved_and_dataframes_are_not() -> None:
    moved = [
        str(FileName.parse(name).at("sub/{}".format)) for name in ("file:a.csv?test=b.csv", "frame:0?test=frame:1")
    ]
    assert moved == ["file:sub/a.csv?test=sub/b.csv", "frame:0?test=frame:1"]


@pytest.mark.parametrize(
    ("data", "options"),
    [([], {"label": "x"}), (["a.csv", "b.csv"], {"test": "c.csv"}), ([3], {}), ([""], {}), (["file:a.csv"], {})],
)
def test_data_of_another_kind_and_options_without_data_are_refused(data: list[object], options: dict[str, str]) -> None:
    with pytest.raises(UserError):
        names_of(data, options)
