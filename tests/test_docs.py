"""Statements of README.md, CONTRIBUTING.md and the pages of docs/ are true."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import click
import pytest
import typer.main
import yaml

from docs.scripts import guard
from tests import ROOT
from tests.markdown import Block, anchors, blocks, links
from tests.torture import __main__ as torture
from tunefront.bench.cli.main import app
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.pytest_plugin import plugin
from tunefront.bench.records import Record
from tunefront.bench.suites.grids import build_grids
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.toml import known_suites, read_suite
from tunefront.methods.registry import methods
from tunefront.methods.spelling import label, parse

README = ROOT.joinpath("README.md").read_text(encoding="utf-8")
PAGES = tuple(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/**/*.md")))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *PAGES)
OTHERS = {"--help", "--collect-only", "--rounds", "--check", "--head", "--address"}
"""Options in the documents that belong to pytest, to `python -m tests.peers`, to ruff or to `ray start`."""


def text_of(name: str) -> str:
    return ROOT.joinpath(name).read_text(encoding="utf-8")


def quick_start() -> list[str]:
    section = re.split(r"^## ", README, flags=re.M)[1]
    assert section.startswith("Quick start")
    block = next(iter(blocks(section)))
    return [line for line in block.text.splitlines() if line.strip() and not line.startswith("#")]


def known_flags() -> set[str]:
    """Every option of the command, the pytest plugin and the torture, and those of pip and pytest in the README."""
    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    flags = {
        flag
        for command in group.commands.values()
        for option in command.params
        for flag in (*option.opts, *option.secondary_opts)
    }
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    flags |= {name for group in parser._groups for option in group.options for name in option.names()}
    flags |= {name for action in torture.parser()._actions for name in action.option_strings}
    return flags | {plugin.SHARED} | OTHERS


def all_blocks() -> list[tuple[str, Block]]:
    return [(name, block) for name in DOCUMENTS for block in blocks(text_of(name))]


def commands() -> list[str]:
    """Every call of `tunefront` in a block, each once."""
    lines = (line for _, block in all_blocks() if block.language == "bash" for line in block.text.splitlines())
    return list(dict.fromkeys(line for line in lines if line.startswith("tunefront ")))


def test_the_quick_start_is_two_commands() -> None:
    first, second = quick_start()
    assert first.endswith("tunefront run")
    assert second.endswith("pytest -n auto")
    assert all(command.startswith("pip install -c constraints.txt ") for command in (first, second))


def test_the_line_under_the_quick_start_names_the_cpu_index() -> None:
    section = re.split(r"^## ", README, flags=re.M)[1]
    below = section.rsplit("```", 1)[1].strip().splitlines()[0]
    assert "https://download.pytorch.org/whl/cpu" in below


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 100


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_flag_exists(name: str) -> None:
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text_of(name))) <= known_flags()


@pytest.mark.parametrize(("name", "block"), all_blocks(), ids=lambda value: getattr(value, "first", value))
def test_a_block_can_be_read(name: str, block: Block) -> None:
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "toml":
        if not block.text.startswith("--8<--"):
            tomllib.loads(block.text)
    elif block.language == "yaml":
        assert block.text.startswith("--8<--")  # the file is read by a test of its own
    elif block.language != "text":
        assert block.language == "bash"
        subprocess.run(["bash", "-n", "-c", block.text], check=True)


@pytest.mark.parametrize("line", commands())
def test_a_command_can_be_called_so(line: str) -> None:
    """Checks its name, its options and their types; only a run would check that a folder exists."""
    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    _, name, *arguments = shlex.split(line, comments=True)
    if "--help" not in arguments:
        try:
            group.commands[name].make_context(name, arguments)
        except click.ClickException as error:
            pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize(("name", "block"), [(n, b) for n, b in all_blocks() if b.language == "python"])
def test_what_is_read_of_a_record_is_there(name: str, block: Block) -> None:
    assert {name for name in re.findall(r"\brecord\.(\w+)", block.text) if not hasattr(Record, name)} <= set(
        Record.model_fields
    )


@pytest.mark.parametrize("name", ["README.md", "docs/methods.md"])
def test_every_shipped_method_is_in_the_tables(name: str) -> None:
    table = {spelled.split(":")[0]: spelled for spelled in re.findall(r"^\| `([a-z][^`]*)` \|", text_of(name), re.M)}
    shipped = {known for known, cls in methods().items() if cls.__module__ == f"tunefront.methods.{known}"}
    assert set(table) == shipped
    assert all(parse(spelled).name == known for known, spelled in table.items())


def test_every_shipped_suite_is_on_its_page() -> None:
    assert not [name for name in known_suites() if f"`{name}`" not in text_of("docs/suites.md")]


def test_the_readme_counts_as_the_first_command_does() -> None:
    grids = build_grids(read_suite("quick", ErrorCollector()), Overrides(), ErrorCollector())
    cells = [cell for grid in grids for cell in grid.cells(defaultdict(lambda: (None,)))]
    sizes = {label(cell.method) for cell in cells}
    assert f"{len(cells)} runs of {len(sizes)} methods and sizes" in README
    assert f"runs {len(methods_in_the_readme())} methods" in README


def methods_in_the_readme() -> list[str]:
    return re.findall(r"^\| `([a-z][^`]*)` \|", README, re.M)


@pytest.mark.parametrize("package", ["peft", "lm_eval", "adapters"])
def test_the_benchmarks_name_the_versions_that_are_measured(package: str) -> None:
    (version,) = re.findall(rf"^ +{package}(?:\[\w+\])?==(\S+)$", text_of("tox.ini"), re.M)
    assert version in text_of("docs/benchmarks.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """Links between files of the project and to headings; on the site's pages none leads out of docs/."""
    lost = []
    for link in links(text_of(name)):
        path, _, anchor = link.partition("#")
        target = ROOT.joinpath(name).parent / path if path else ROOT / name
        inside = name not in PAGES or target.resolve().is_relative_to(ROOT / "docs")
        if not inside or not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            lost.append(link)
    assert not lost


def test_every_page_is_reached_from_the_readme_or_the_start_page() -> None:
    linked = {ROOT.joinpath("docs", link.split("#")[0]).resolve() for link in links(text_of("docs/index.md"))}
    linked |= {ROOT.joinpath(link.split("#")[0]).resolve() for link in links(README)}
    shown = {path for path in PAGES if ROOT.joinpath(path).resolve() in linked}
    assert set(PAGES) - shown <= {"docs/index.md", "docs/changelog.md", "docs/reference/python.md"}


def test_the_method_of_the_page_trains_what_it_says(tmp_path: Path, backbones: dict[str, str]) -> None:
    """One vector per sublayer, and the head; the file is written as on the page."""
    (block,) = (block for block in blocks(text_of("docs/method.md")) if block.file == "shift.py")
    file = tmp_path / "shift.py"
    file.write_text(block.text, encoding="utf-8")
    code = (
        "import sys\nfrom tunefront.methods.base import trained\nfrom tunefront.methods.spelling import parse\n"
        "from tests.toys import fresh_copy\n"
        "backbone = fresh_copy(sys.argv[1])\n"
        "parse(sys.argv[2] + ':OutputShift').attach(backbone)\n"
        "count = sum(parameter.numel() for parameter in trained(backbone.model).values())\n"
        "print(count - sum(parameter.numel() for parameter in backbone.head.parameters()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, backbones["bert"], str(file)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(2 * 2 * 32)], done.stderr
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 22


def test_the_example_of_the_guard_has_every_method_of_its_suite() -> None:
    """`python -m docs.scripts.guard` writes it; a slow test runs it again."""
    suite = tomllib.loads(text_of("docs/examples/guard.toml"))
    for name in ("guard.txt", "guard_comment.txt"):
        text = text_of(f"docs/examples/{name}")
        assert all(re.search(rf"^\W*{method}\b", text, re.M) for method in suite["methods"])


def test_the_workflow_of_the_guard_calls_what_there_is() -> None:
    workflow = yaml.safe_load(text_of("docs/examples/guard.yml"))
    (job,) = workflow["jobs"].values()
    calls = re.findall(r"tunefront (\w+) ([^\n>)]*)", "\n".join(step.get("run", "") for step in job["steps"]))
    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    assert [name for name, _ in calls] == ["run", "diff"]
    for name, arguments in calls:
        group.commands[name].make_context(name, shlex.split(arguments))


def test_the_indexed_job_has_the_shards_from_1() -> None:
    job = yaml.safe_load(text_of("docs/examples/indexed_job.yml"))["spec"]
    (container,) = job["template"]["spec"]["containers"]
    line = container["args"][0].removeprefix("exec ")
    for place in range(job["completions"]):
        shown = f"tunefront() {{ printf '%s\\n' \"$@\"; }}; {line}"
        environment = {**os.environ, "JOB_COMPLETION_INDEX": str(place)}
        called = subprocess.run([*container["command"], shown], env=environment, capture_output=True, text=True)
        name, *arguments = called.stdout.splitlines()
        assert arguments[-2:] == ["--shard", f"{place + 1}/{job['completions']}"]
        command_named(name).make_context(name, arguments)


def test_the_machines_of_the_page_have_one_shard_each(tmp_path: Path) -> None:
    (block,) = (block for block in blocks(text_of("docs/cluster.md")) if "ssh " in block.text)
    script = f'ssh() {{ echo "$2"; }}; {block.text}'
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True)
    lines = [path.read_text().split("tunefront ")[1] for path in sorted(tmp_path.glob("*.log"))]
    shards = []
    for line in lines:
        name, *arguments = shlex.split(line)
        shards.append(command_named(name).make_context(name, arguments).params["shard"])
    assert shards == [f"{number}/{len(lines)}" for number in range(1, len(lines) + 1)]


def command_named(name: str) -> click.Command:
    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    return group.commands[name]


@pytest.mark.slow
def test_the_example_of_the_guard_can_be_made_again(tmp_path: Path) -> None:
    made = guard.outputs(tmp_path)
    assert set(made) == {"guard.txt", "guard_comment.txt"}
    for name, text in made.items():
        assert text.splitlines()[0] == text_of(f"docs/examples/{name}").splitlines()[0]
