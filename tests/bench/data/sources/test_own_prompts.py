"""Prompt templates of one's own file: where they are found, and what they change."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.bench.data.sources.test_own_file import csv_file, mistake, put, says, task
from tunefront.bench.cells import Cell
from tunefront.bench.data.sources import load_task
from tunefront.bench.data.sources.own_names import names_of
from tunefront.bench.data.sources.own_prompts import prompts_of
from tunefront.bench.execution.identity import Identity
from tunefront.bench.templates import find_template
from tunefront.methods.base import Recipe
from tunefront.methods.icl import ICL

YAML = """templates:
  1: !Template
    name: {name}
    answer_choices: worse ||| better
    jinja: '{words} {{{{ review }}}} ||| {{{{ answer_choices[label] }}}}'
"""


def templates(folder: Path, file: str = "tickets.templates.yaml", name: str = "own", words: str = "So:") -> Path:
    return put(folder, file, YAML.format(name=name, words=words))


@pytest.mark.parametrize("name", ["tickets.csv", "tickets.csv.gz", "tickets.TSV", "tickets.xlsx", "tickets.jsonl.zst"])
def test_templates_lie_next_to_a_file_under_its_name(tmp_path: Path, name: str) -> None:
    assert prompts_of(tmp_path / name) == tmp_path / "tickets.templates.yaml"


def test_a_name_with_points_keeps_them(tmp_path: Path) -> None:
    assert prompts_of(tmp_path / "v1.2.csv").name == "v1.2.templates.yaml"


def test_templates_next_to_a_file_are_found_and_said(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    templates(tmp_path)
    read = task(path)
    assert find_template(read, None).name == "own"
    assert "prompts from tickets.templates.yaml" in says(read)


def test_templates_of_the_call_come_before_those_next_to_the_file(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    templates(tmp_path)
    other = templates(tmp_path, "other.yaml", "theirs")
    assert find_template(task(path, prompts=other), None).name == "theirs"


def test_a_dataframe_has_the_templates_of_the_call_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    frame = pd.read_csv(csv_file(tmp_path))
    assert task(frame).templates is None
    assert find_template(task(frame, prompts=templates(tmp_path)), None).name == "own"


def test_templates_that_are_not_there_are_answered_with_the_nearest(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    templates(tmp_path, "prompts.yaml")
    assert "did you mean 'prompts.yaml'" in mistake(path, prompts=tmp_path / "promts.yaml")
    assert "is no file" in mistake(path, prompts=tmp_path)


def test_other_words_give_another_key(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    keys = set()
    for words in ("So:", "Thus:", "So:"):
        file = templates(tmp_path, f"{len(keys)}{words[:2]}.yaml", words=words)
        (name,) = names_of([path], {"prompts": file})
        keys.add(Identity.of(Cell(ICL(), "nano", name, Recipe(), template="own")).key)
    assert len(keys) == 2


def test_a_field_of_any_name_is_read_by_a_template(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "Review text,label\n" + "".join(f"it was fine {i},{i % 2}\n" for i in range(20)))
    jinja = """'{{ fields["Review text"] }} ||| {{ answer_choices[label] }}'"""
    put(tmp_path, "a.templates.yaml", f"templates: {{1: {{name: x, answer_choices: no ||| yes, jinja: {jinja}}}}}")
    read = load_task(f"file:{path}?text=Review text")
    row = read.splits["train"][0]
    assert find_template(read, "x").render(read, row).text == row.fields["Review text"]
