"""The site of docs/: what is generated is up to date, and the pages build without a warning."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pydantic
import pytest
from packaging.requirements import Requirement
from PIL import Image

from docs.scripts import coverage, reference, rooms
from tests import ROOT

NEEDED = ("mkdocs", "material", "mkdocstrings")
"""The imports of a build."""


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return reference.pages()


@pytest.mark.parametrize("name", ["commands.md", "methods.md", "record.md", "settings.md", "sites.md"])
def test_a_generated_page_is_up_to_date(name: str, generated: dict[str, str]) -> None:
    same = reference.FOLDER.joinpath(name).read_text(encoding="utf-8") == generated[name]
    assert same, f"docs/reference/{name} differs from the code: run `python -m docs.scripts.reference`"


def test_every_page_of_the_reference_is_generated_but_one(generated: dict[str, str]) -> None:
    assert {path.name for path in reference.FOLDER.glob("*.md")} == {*generated, "python.md"}


def test_the_picture_of_the_rooms_is_up_to_date() -> None:
    same = rooms.PICTURE.read_text(encoding="utf-8") == rooms.picture()
    assert same, "docs/img/rooms.svg differs from the imports: run `python -m docs.scripts.rooms`"


def test_stations_of_a_cell_are_in_the_picture_and_on_the_page() -> None:
    page = ROOT.joinpath("docs", "cell.md").read_text(encoding="utf-8")
    stations = [name.replace("/", ".") for name in re.findall(r"^\d+\. \*\*`([\w/]+)`\*\*", page, re.M)]
    assert stations == list(rooms.WALK)
    assert set(rooms.WALK) <= set(rooms.BOXES)


class Inner(pydantic.BaseModel):
    """Args: amount, how much; note and mark, what else."""

    amount: float = pydantic.Field(ge=0)
    note: str | None = None
    mark: int = pydantic.Field(description="said here")


class Outer(pydantic.BaseModel):
    one: Inner | None = None
    many: dict[str, Inner] | None = None


def test_nested_fields_have_dotted_names() -> None:
    rows = {name.strip("`"): (kind, meaning) for name, kind, meaning in reference.record_rows(Outer)}
    assert list(rows)[:4] == ["one", "one.amount", "one.note", "one.mark"]
    assert rows["one.amount"] == ("number ≥ 0", "how much")
    assert rows["many.<key>.note"] == ("text or null", "what else")
    assert rows["many.<key>.mark"] == ("whole number", "said here")


def test_meanings_are_read_from_a_docstring_where_they_are_plain() -> None:
    known = ("rate", "beta1", "beta2", "decay", "balanced")
    text = "What.\n\nArgs: rate, the peak; beta1 and beta2, of one kind, alone; decay,\nnone; balanced does more. More."
    descriptions = reference.arguments(text, known)
    assert descriptions == {
        "rate": "the peak",
        "beta1": "of one kind, alone",
        "beta2": "of one kind, alone",
        "decay": "none",
    }


def test_the_picture_of_the_readme_is_small() -> None:
    path = ROOT / "docs" / "img" / "report.png"
    assert path.stat().st_size < 250_000
    with Image.open(path) as image:
        assert image.width >= 900


def test_tox_installs_what_the_extra_names() -> None:
    """The site needs no torch, so its environment installs the packages and not the project."""
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
    tox = ROOT.joinpath("tox.ini").read_text(encoding="utf-8").split("[testenv:docs]")[1].split("[testenv:")[0]
    listed = re.search(r"^deps =\n((?: +.+\n)+)", tox, re.M)
    assert listed is not None
    extra = {Requirement(text).name for text in project["optional-dependencies"]["docs"]}
    assert extra == {Requirement(line.strip()).name for line in listed[1].splitlines()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"building the site needs {', '.join(missing)}: pip install -c constraints.txt -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, ".ci/typed", "--links-only"], cwd=ROOT, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_builds_without_a_warning(site: Path) -> None:
    assert site.joinpath("index.html").is_file()
    assert "plug" in site.joinpath("reference", "python.html").read_text(encoding="utf-8")


def test_a_page_needs_no_other_host(site: Path) -> None:
    """Pages load nothing from another host; links may lead to one."""
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]* src=[\"']?(?:https?:)?//"
        r"|<link[^>]* rel=[\"']?(?:stylesheet|preconnect)[^>]* href=[\"']?(?:https?:)?//"
    )
    assert not [page.name for page in site.rglob("*.html") if loaded.search(page.read_text(encoding="utf-8"))]


def table_of(part: str) -> list[list[str]]:
    """The rows of a simulated table on its page, without its head."""
    page = (ROOT / "docs" / coverage.TABLES[part][0]).read_text(encoding="utf-8")
    block = page.split(f"<!-- {part}: start -->")[1].split(f"<!-- {part}: end -->")[0]
    lines = [line for line in block.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_simulated_coverage_has_every_world_and_design() -> None:
    expected = [[name, f"{tasks} × {runs}"] for name in coverage.WORLDS for tasks, runs in coverage.DESIGNS]
    assert [row[:2] for row in table_of("coverage")] == expected


def test_the_simulated_shares_are_those_that_the_page_promises() -> None:
    """Methods that are equally stable: at least 94 %, and at most 6 % false alarms. One unstable one: 90 % and 8 %."""
    for row in table_of("coverage"):
        odd, others, at_once, *alarms = (float(cell.removesuffix("\u00a0%").removesuffix(" %")) for cell in row[3:])
        unstable = row[0].startswith("one unstable")
        assert min(odd, others, at_once) >= (90 if unstable else 94), row
        assert max(alarms) <= (8 if unstable else 6), row


def test_the_simulated_losses_fall_with_tasks_and_draws_and_grow_with_the_spread() -> None:
    losses = [[int(cell) for cell in row[1:]] for row in table_of("losses")]
    assert len(losses) == len(coverage.LOSS_DEVIATIONS)
    assert all(row == sorted(row, reverse=True) and len(row) == len(coverage.LOSS_DESIGNS) for row in losses)
    assert all(list(column) == sorted(column) for column in zip(*losses, strict=True))


def test_a_few_repetitions_give_a_row_of_each_table() -> None:
    (design, *_), world = coverage.DESIGNS, next(iter(coverage.WORLDS.values()))
    assert all(0 <= share <= 1 for share in coverage.coverage_row(4, design, world, 0))
    said, true = coverage.calibration(3, (5, 3), world, 0)["best"]
    assert said.shape == true.shape == (3 * coverage.FEW,)


def test_a_block_replaces_the_one_before_it() -> None:
    page = "a\n<!-- part: start -->\nold\n<!-- part: end -->\nb"
    assert coverage.put(page, "part", ["new"]) == "a\n<!-- part: start -->\n\nnew\n\n<!-- part: end -->\nb"
    with pytest.raises(ValueError, match="no lines"):
        coverage.put(page, "other", ["new"])
