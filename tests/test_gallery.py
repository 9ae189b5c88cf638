"""The gallery of the documents: its jobs, what it draws of one, and that it goes on where it stopped."""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from PIL import Image

from docs.scripts import gallery, pictures
from docs.scripts.gallery import Job, draw, jobs, quote, section
from tests import ROOT
from tests.conftest import make_toy
from tests.markdown import links
from tests.reports.answered import world
from tests.reports.factory import failed
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.models.tiny import make_backbone
from tunefront.bench.records.store import Store
from tunefront.bench.suites.grids import build_grids
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.toml import read_suite

CHROMIUM = shutil.which(os.environ.get("CHROMIUM", "chromium"))
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: CHROMIUM names its command")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the page, the pictures and the reports."""
    for name, path in (("PAGE", "gallery.md"), ("PICTURES", "img"), ("REPORTS", "gallery")):
        monkeypatch.setattr(gallery, name, tmp_path / path)
    tmp_path.joinpath("img").mkdir()
    return tmp_path


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "first_screen", lambda page, picture, size: picture.write_bytes(b""))


def test_the_grid_has_eight_methods_on_five_tasks() -> None:
    wrong = ErrorCollector()
    grids = build_grids(read_suite(str(ROOT / gallery.SUITE), wrong), Overrides(), wrong)
    wrong.raise_if_any()
    cells = [cell for grid in grids for cell in grid.cells(defaultdict(lambda: (None,)))]
    assert len({cell.method for cell in cells}) == 8
    assert len({cell.task for cell in cells}) == 5
    assert len(cells) == 8 * 5 * 2


def test_other_tasks_are_those_of_the_grid_alone() -> None:
    (grid,) = (job for job in jobs(["dir:a", "dir:b"]) if job.name == "grid")
    assert grid.command[-4:] == ("--task", "dir:a", "--task", "dir:b")
    assert [job for job in jobs(["dir:a"]) if job.name != "grid"] == [job for job in jobs() if job.name != "grid"]


@pytest.mark.parametrize("job", jobs(), ids=lambda job: job.name)
def test_a_job_is_on_the_page_with_its_command(job: Job) -> None:
    text = gallery.PAGE.read_text(encoding="utf-8")
    assert section(job, [])[:-1] in text, "the page differs from the script: run `python -m docs.scripts.gallery`"


def test_the_site_builds_without_reports_and_they_are_not_under_version_control() -> None:
    told = section(jobs()[0], ["It says this."])
    assert links(told) == ["img/gallery-default.png", "img/gallery-default-narrow.png"]
    assert '<a href="gallery/default.html">' in told
    assert "docs/gallery/" in ROOT.joinpath(".gitignore").read_text(encoding="utf-8").splitlines()


def test_pictures_in_the_tree_are_small() -> None:
    for path in gallery.PICTURES.glob("gallery-*.png"):
        assert path.stat().st_size <= pictures.MOST_BYTES, path.name


@pytest.mark.usefixtures("no_pictures")
def test_a_report_is_one_file_and_its_first_screen_is_quoted(tmp_path: Path) -> None:
    world(tmp_path / "results", {"full": 0.9, "houlsby:bottleneck=8": 0.7, "ia<3>": 0.8})
    draw("toy", tmp_path / "results", tmp_path / "gallery", tmp_path)
    (report,) = tmp_path.joinpath("gallery").iterdir()
    assert report.name == "toy.html"
    title, *_, budgets = quote(tmp_path / "results")
    assert title.strip("*") in report.read_text(encoding="utf-8")
    assert all(line.startswith("- ") for line in budgets.splitlines())
    assert "full" in budgets
    assert "<3>" not in "".join(quote(tmp_path / "results"))


def test_paragraphs_and_lists_are_quoted() -> None:
    assert section(jobs()[0], ["First.", "- a\n- b"]).endswith("\n\n> First.\n>\n> - a\n> - b\n")


def test_a_folder_without_a_score_says_why(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(failed(), None)
    assert any("No cell has a score" in text for text in quote(tmp_path))


@needs_chromium
@pytest.mark.parametrize("size", gallery.SCREENS.values())
def test_a_screen_has_its_size(tmp_path: Path, size: tuple[int, int]) -> None:
    page = tmp_path / "page.html"
    script = f"document.body.style.background = innerWidth == {size[0]} ? 'rgb(0, 128, 0)' : 'red'"
    page.write_text(f'<meta name="viewport" content="width=device-width"><body><script>{script}</script>')
    pictures.first_screen(page, tmp_path / "screen.png", size)
    with Image.open(tmp_path / "screen.png") as image:
        assert image.size == size
        assert image.convert("RGB").getpixel((size[0] - 1, size[1] - 1)) == (0, 128, 0)
    assert tmp_path.joinpath("screen.png").stat().st_size <= pictures.MOST_BYTES


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_the_jobs_go_on_where_they_stopped(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiny jobs, of which only one ran before; the second call runs the other and draws both."""
    backbone, task = make_backbone(places / "tiny", "bert"), f"dir:{make_toy(places / 'toy')}"
    selection = ("--backbone", str(backbone), "--task", task, "--shots", "32", "--seeds", "0", "--workers", "1")
    tiny = [
        Job("default", "Default", "One.", ("run", "--method", "ia3", "--method", "features", *selection)),
        Job("stream", "Stream", "Two.", ("run", "--method", "bitfit", *selection)),
    ]
    monkeypatch.setattr(gallery, "jobs", lambda tasks=(): tiny)
    real = gallery.tunefront
    monkeypatch.setattr(gallery, "tunefront", lambda *command: None if command == ("fetch",) else real(*command))
    monkeypatch.setattr(sys, "argv", ["gallery", str(places / "out"), "--only", "default"])
    gallery.main()
    first = {path: path.stat().st_mtime_ns for path in places.glob("out/default/records/*.json")}
    assert first
    assert "gallery/default.html" in gallery.PAGE.read_text(encoding="utf-8")
    assert "gallery/stream.html" not in gallery.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["gallery", str(places / "out")])
    gallery.main()
    assert {path: path.stat().st_mtime_ns for path in places.glob("out/default/records/*.json")} == first
    text = gallery.PAGE.read_text(encoding="utf-8")
    assert "gallery/default.html" in text
    assert "gallery/stream.html" in text
    assert sorted(path.name for path in places.joinpath("gallery").iterdir()) == ["default.html", "stream.html"]
