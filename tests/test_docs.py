"""README.md and CONTRIBUTING.md say what is so."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from tests import ROOT
from tests.markdown import Block, blocks
from tunefront.bench.cli.main import app
from tunefront.bench.pytest_plugin import plugin
from tunefront.bench.suites.toml import known_suites
from tunefront.methods.registry import methods
from tunefront.methods.spelling import parse

README = ROOT.joinpath("README.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "CONTRIBUTING.md")


def quick_start() -> list[str]:
    section = re.split(r"^## ", README, flags=re.M)[1]
    assert section.startswith("Quick start")
    block = next(iter(blocks(section)))
    return [line for line in block.text.splitlines() if line.strip() and not line.startswith("#")]


def known_flags() -> set[str]:
    """Every option of the command and of the pytest plugin, and what README uses of pip and pytest."""
    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    flags = {flag for command in group.commands.values() for option in command.params for flag in option.opts}
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    flags |= {name for group in parser._groups for option in group.options for name in option.names()}
    return flags | {plugin.SHARED, "--help", "--collect-only"}


def all_blocks() -> list[tuple[str, Block]]:
    return [(name, block) for name in DOCUMENTS for block in blocks(ROOT.joinpath(name).read_text(encoding="utf-8"))]


def test_the_quick_start_is_two_commands() -> None:
    first, second = quick_start()
    assert first.endswith("tunefront run")
    assert second.endswith("pytest -n auto")
    assert all(command.startswith("pip install -c constraints.txt ") for command in (first, second))


def test_the_line_under_the_quick_start_names_the_cpu_index() -> None:
    section = re.split(r"^## ", README, flags=re.M)[1]
    below = section.rsplit("```", 1)[1].strip().splitlines()[0]
    assert "https://download.pytorch.org/whl/cpu" in below


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README))))
def test_a_flag_of_the_readme_exists(flag: str) -> None:
    assert flag in known_flags()


@pytest.mark.parametrize(("name", "block"), all_blocks(), ids=lambda value: getattr(value, "first", value))
def test_a_block_can_be_read(name: str, block: Block) -> None:
    if block.language == "python":
        ast.parse(block.text)
    else:
        assert block.language == "bash"
        subprocess.run(["bash", "-n", "-c", block.text], check=True)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"^tunefront (\w+)", README, re.M))))
def test_a_command_of_the_readme_exists(name: str) -> None:
    assert name in typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_every_shipped_method_and_suite_is_in_the_readme() -> None:
    table = {spelled.split(":")[0]: spelled for spelled in re.findall(r"^\| `([a-z][^`]*)` \|", README, re.M)}
    shipped = {name for name, cls in methods().items() if cls.__module__ == f"tunefront.methods.{name}"}
    assert shipped <= set(table)
    assert all(parse(spelled).name == name for name, spelled in table.items())
    assert not [name for name in known_suites() if f"`{name}`" not in README]


def test_relative_links_lead_somewhere() -> None:
    for name in DOCUMENTS:
        links = re.findall(r"\]\((?!https?://)([^)#]+)\)", ROOT.joinpath(name).read_text(encoding="utf-8"))
        assert not [link for link in links if not ROOT.joinpath(link).exists()]


def test_the_readme_s_method_trains_what_it_says(tmp_path: Path, backbones: dict[str, str]) -> None:
    """One vector a sublayer, and the head; the file is written as the README gives it."""
    (block,) = (block for block in blocks(README) if block.file == "shift.py")
    file = tmp_path / "shift.py"
    file.write_text(block.text, encoding="utf-8")
    code = (
        "import sys\nfrom tunefront.methods.base import trained\nfrom tunefront.methods.spelling import parse\n"
        "from tests.toys import pristine\n"
        "backbone = pristine(sys.argv[1])\n"
        "parse(sys.argv[2] + ':OutputShift').attach(backbone)\n"
        "count = sum(parameter.numel() for parameter in trained(backbone.model).values())\n"
        "print(count - sum(parameter.numel() for parameter in backbone.head.parameters()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, backbones["bert"], str(file)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(2 * 2 * 32)], done.stderr
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 22
