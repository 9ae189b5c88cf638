"""`pytest --benchmark --collect-only`: the ids of the run, in seconds, and not a byte written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.pytest_plugin.projects import PLUGIN, TIMER, ids, run, suite
from tests.conftest import make_toy
from tunefront.bench.data.cache import write_task
from tunefront.bench.data.sources import hub
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides

pytest_plugins = ["pytester"]

LIST = ("--collect-only", "-q")
NO_ROWS = """
from tunefront.bench.data import cache
from tunefront.bench.data.sources import docstrings, hub

def refuse(*_):
    raise AssertionError("rows were requested")

docstrings.harvest = hub._downloaded = cache.write_task = refuse
"""
TEMPLATES = """
dataset: toy
templates:
  one: !Template
    name: one
    answer_choices: no ||| yes
    jinja: "{{text}} Is it good? ||| {{answer_choices[label]}}"
    metadata: !TemplateMetadata
      original_task: true
"""


def contents(*folders: Path) -> dict[str, bytes | None]:
    """Path -> content of every file below, None for a folder."""
    paths = sorted(path for folder in folders for path in folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def test_it_lists_what_a_run_times_in_the_same_order(project: pytest.Pytester) -> None:
    options = suite("--tunefront-seeds", "0,1")
    listed = ids(run(project, *options, *LIST))
    run(project, *options, "--benchmark-json", "timed.json").assert_outcomes(passed=4)
    timed = json.loads((project.path / "timed.json").read_text(encoding="utf-8"))["benchmarks"]
    assert listed == [entry["fullname"] for entry in timed]


def test_it_writes_nothing_and_makes_no_task(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, language_models: dict[str, str]
) -> None:
    places = {"HOME": "home", "TUNEFRONT_CACHE": "cache", "HF_HOME": "hub", "XDG_CACHE_HOME": "xdg", "TMPDIR": "tmp"}
    for variable, name in places.items():
        monkeypatch.setenv(variable, str(tmp_path / name))
        (tmp_path / name).mkdir()
    project.makepyfile(no_rows=NO_ROWS)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # of the file that was just made
    before = contents(project.path, tmp_path)
    options = ["--tunefront-task=docstrings/kind", "--tunefront-task=hub:glue/sst2"]
    options.append(f"--tunefront-backbone={language_models['gpt2']}")
    command = [sys.executable, "-m", "pytest", "-p", "no_rows", *PLUGIN, *TIMER, *suite(*LIST, *options)]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(project.path, tmp_path) == before
    listed = [line for line in done.stdout.splitlines() if line.startswith("tunefront::")]
    assert [line.partition("gpt2-")[2].partition("-shots")[0] for line in listed] == [
        *["docstrings/kind"] * 2,
        *["hub:glue/sst2"] * 2,
    ]
    assert ["-summary_kind-" in line for line in listed] == [True, True, False, False]
    assert ["-plain-" in line for line in listed] == [False, False, True, True]


def test_it_says_where_the_kind_of_a_task_is_a_guess(project: pytest.Pytester) -> None:
    result = run(project, *suite("--collect-only", "--tunefront-task=hub:glue/sst2"))
    result.stdout.fnmatch_lines(["*hub:glue/sst2*classification task"])


def test_a_task_of_the_hub_is_taken_from_the_cache_and_a_broken_entry_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language_models: dict[str, str]
) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path))
    rows = {"train": [Row("0", {"text": "a"}, 0.5)], "test": [Row("0", {"text": "b"}, 1.5)]}
    kept = Task("hub:owner/grades", "regression", rows, ("text",), (), (MetricSpec("pearson"),))
    path = hub._path(kept.name)
    write_task(path, kept)
    overrides = Overrides(methods=["full"], backbones=[language_models["gpt2"]], tasks=[kept.name])
    assert {cell.template for cell in expand("quick", overrides, listing=True).cells} == {None}
    path.write_text("broken", encoding="utf-8")
    assert {cell.template for cell in expand("quick", overrides, listing=True).cells} == {"plain"}
    assert path.read_text(encoding="utf-8") == "broken"


@pytest.mark.parametrize("templates", [None, ["all"], ["plain"]])
def test_a_listing_has_the_cells_of_a_plan(
    tmp_path: Path, folders: dict[str, str], toy_folder: str, templates: list[str] | None
) -> None:
    prompted = make_toy(tmp_path / "prompted")
    (prompted / "templates.yaml").write_text(TEMPLATES, encoding="utf-8")
    overrides = Overrides(
        methods=["full", "icl:k=4"],
        backbones=[folders["gpt2"], *([] if templates == ["plain"] else [folders["bert"]])],
        tasks=[toy_folder, f"dir:{prompted}"],
        shots=[8],
        templates=templates,
    )
    cells = expand("quick", overrides).cells
    assert expand("quick", overrides, listing=True).cells == cells
    assert {cell.template for cell in cells} >= {"plain"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"tasks": ["docstrings/kidn"]}, "did you mean 'docstrings/kind'?"),
        ({"tasks": ["dir:nowhere"]}, "nowhere"),
        ({"tasks": ["hub:a/b/c/d"]}, "is no dataset"),
        ({"methods": ["houlsbi"]}, "did you mean 'houlsby'?"),
        ({"backbones": ["nanno"]}, "did you mean 'nano'?"),
        ({"backbones": ["owner/model"]}, "only a run downloads them"),
        ({"backbones": ["./nowhere"]}, "no backbone './nowhere'"),
        ({"backbones": ["no/such/folder"]}, "there is no model folder no/such/folder"),
        ({"settings": {"epoch": 3}}, "did you mean 'epochs'?"),
    ],
)
def test_a_name_that_is_wrong_is_a_mistake_in_a_listing_too(
    toy_folder: str, backbones: dict[str, str], overrides: dict[str, object], message: str
) -> None:
    right = {"methods": ["full"], "backbones": [backbones["bert"]], "tasks": [toy_folder]}
    with pytest.raises(UserError) as raised:
        expand("quick", Overrides(**(right | overrides)), listing=True)  # type: ignore[arg-type]
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
