"""`tunefront fetch`: what a call asks for, and what goes wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunefront.bench.cli import fetch as command
from tunefront.bench.data.archives.catalog import ARCHIVES, Archive
from tunefront.bench.errors import UserError


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path | None]]:
    """What was asked of the index or of a folder, in the place of doing it."""
    calls: list[tuple[str, Path | None]] = []

    def noted(archive: Archive, source: Path | None) -> bool:
        calls.append((archive.name, source))
        if archive.name == "news":
            raise UserError("the package index does not answer.")
        return True

    monkeypatch.setattr(command, "fetch_archive", noted)
    return calls


def test_all_archives_are_fetched_where_none_is_named(call: Any, fetched: list[tuple[str, Path | None]]) -> None:
    call("fetch")
    assert fetched == [(name, None) for name in ARCHIVES]


def test_an_archive_that_fails_keeps_none_of_the_others(call: Any, fetched: list[tuple[str, Path | None]]) -> None:
    result = call("fetch")
    assert result.exit_code == 2
    assert "does not answer" in result.stderr
    assert fetched[-1][0] == "smollm2"


@pytest.mark.parametrize("name", ["sentiment", "smollm2", "sentiment/movies"])
def test_it_says_what_comes_from_whom_how_large_and_under_which_licence(
    name: str, call: Any, fetched: list[tuple[str, Path | None]]
) -> None:
    result = call("fetch", name)
    assert result.exit_code == 0
    (archive,) = [archive for archive in ARCHIVES.values() if name in (archive.name, *archive.provides)]
    printed = " ".join(result.stderr.split())
    for fact in (archive.project, archive.version, archive.owners, archive.licence, "MB", *archive.provides):
        assert fact in printed


def test_a_folder_takes_the_place_of_the_index(
    call: Any, fetched: list[tuple[str, Path | None]], tmp_path: Path
) -> None:
    call("fetch", "smollm2", "--from", str(tmp_path))
    assert fetched == [("smollm2", tmp_path)]


@pytest.mark.parametrize("arguments", [["smolm2"], ["smollm2", "--from", "/no/such/folder"]])
def test_what_a_call_gets_wrong_is_one_error(
    arguments: list[str], call: Any, fetched: list[tuple[str, Path | None]]
) -> None:
    result = call("fetch", *arguments)
    assert result.exit_code == 2
    assert ("smollm2" if arguments == ["smolm2"] else "/no/such/folder") in result.stderr
    assert fetched == []
