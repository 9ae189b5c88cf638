"""SECURITY.md says what the code and pyproject.toml say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import ROOT
from tunefront.bench.data.archives.catalog import ARCHIVES

TEXT = ROOT.joinpath("SECURITY.md").read_text(encoding="utf-8")
PYPROJECT = ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8")
FLOORS = TEXT.partition("## Floors of dependencies")[2]
NOT_RAISED = ("pytest",)
"""Packages whose known vulnerability is said and whose floor is below it."""


def requirements() -> Iterator[tuple[str, str]]:
    """Each line of pyproject.toml with a requirement, and its comment: on the line, or right above."""
    above: list[str] = []
    inside = False
    for line in PYPROJECT.splitlines():
        inside = inside or line.startswith(("dependencies = [", "[project.optional-dependencies]"))
        if line.startswith("[project.scripts]"):
            return
        code, _, comment = line.partition("  #") if not line.strip().startswith("#") else ("", "", line.strip("# "))
        found = re.findall(r'"([^"]+)"', code) if inside else []
        for text in found:
            if not text.startswith("tunefront["):
                yield text, " ".join([*above, comment.strip("# ")]).strip()
        above = [*above, comment] if not code.strip() and comment else []


def declared() -> list[Requirement]:
    project = tomllib.loads(PYPROJECT)["project"]
    extras = (text for texts in project["optional-dependencies"].values() for text in texts)
    found = map(Requirement, (*project["dependencies"], *extras))
    return [requirement for requirement in found if requirement.name != project["name"]]


def vulnerabilities(text: str) -> set[str]:
    return set(re.findall(r"CVE-\d{4}-\d+", text))


def test_every_dependency_has_a_reason() -> None:
    found = dict(requirements())
    assert {str(Requirement(text)) for text in found} == {str(requirement) for requirement in declared()}
    assert not [text for text, reason in found.items() if len(reason.split()) < 2]


def test_the_list_of_floors_is_that_of_pyproject() -> None:
    listed = {
        name: (floor, vulnerabilities(why))
        for name, floor, why in re.findall(r"^\| ([\w.-]+) \| ([\d.]+) \| (.+) \|$", FLOORS, re.MULTILINE)
    }
    expected = {}
    for text, reason in requirements():
        requirement = Requirement(text)
        if (found := vulnerabilities(reason)) and requirement.name not in NOT_RAISED:
            (floor,) = requirement.specifier
            expected[canonicalize_name(requirement.name)] = (floor.version, found)
    assert listed == expected
    for name in NOT_RAISED:
        (reason,) = (reason for text, reason in requirements() if Requirement(text).name == name)
        assert vulnerabilities(reason) == vulnerabilities(FLOORS.partition("Not raised: ")[2])


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+\.(?:py|toml|txt))`", TEXT))))
def test_every_file_that_is_named_is_there(path: str) -> None:
    named_by_others = {"x.py", "setup.py", "conftest.py"}
    assert path in named_by_others or ROOT.joinpath(path).is_file()


def test_everything_that_is_fetched_has_a_sha256() -> None:
    assert ARCHIVES
    assert all(re.fullmatch("[0-9a-f]{64}", archive.sha256) for archive in ARCHIVES.values())
