"""Errors for broken templates, choices, demonstrations and backbones: exit code 2 with a paragraph before anything
runs, or a skipped cell with its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunefront.bench.records import Record, load_records

pytestmark = pytest.mark.usefixtures("reports")

GOLD = " ||| {{ answer_choices[label] }}"
ROUND = "{% for x in range(1000) %}"


def write_templates(folder: Path, **templates: tuple[str, str]) -> None:
    """A templates.yaml; each template is (jinja, answer_choices), its name with spaces for underscores."""
    written = [
        f"  {key}: !Template\n    name: {json.dumps(key.replace('_', ' '))}\n    jinja: {json.dumps(jinja)}\n"
        f"    answer_choices: {json.dumps(choices)}\n    metadata: !TemplateMetadata\n      original_task: true\n"
        for key, (jinja, choices) in templates.items()
    ]
    folder.joinpath("templates.yaml").write_text("templates:\n" + "".join(written), encoding="utf-8")


@pytest.fixture
def task(tmp_path: Path, toy_folder: str) -> Path:
    """A copy of the toy task, without templates."""
    return Path(shutil.copytree(toy_folder.removeprefix("dir:"), tmp_path / "task"))


@pytest.fixture
def run_task(call: Any, task: Path, language_models: dict[str, str]) -> Any:
    """Runs the toy task with a few steps in this process, by default on a tiny T5; returns click's result."""

    def run(*arguments: str, backbone: str = "t5", method: str = "ia3") -> Any:
        common = ("--backbone", language_models.get(backbone, backbone), "--task", f"dir:{task}", "--method", method)
        steps = (
            "--set",
            "steps=2",
            "--set",
            "learning_rate=1e-2",
            "--set",
            "eval_rows=8",
            "--draws",
            "0",
            "--seeds",
            "0",
            "--workers",
            "1",
        )
        return call("run", *common, *steps, *(() if "--shots" in arguments else ("--shots", "8")), *arguments)

    return run


def only_record(folder: Path) -> Record:
    (record,) = load_records(folder / "results")
    return record


def assert_error(result: Any, message: str, folder: Path) -> None:
    """Exit 2, one paragraph, nothing run."""
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    paragraph = result.stderr[result.stderr.index("error: ") :].strip()
    assert "\n" not in paragraph
    assert "Traceback" not in result.stderr
    assert not (folder / "results").exists()


@pytest.mark.parametrize(
    ("jinja", "choices", "message"),
    [
        ("{{ text | int // 0 }}" + GOLD, "good ||| bad", "it fails with ZeroDivisionError"),
        ("{% for x in range(10 ** 9) %}a{% endfor %}" + GOLD, "good ||| bad", "`pow` is not allowed in a template"),
        ("{% for x in range(999999999) %}a{% endfor %}" + GOLD, "good ||| bad", "has more than 10,000 numbers"),
        (ROUND * 3 + "a" + "{% endfor %}" * 3 + GOLD, "good ||| bad", "more than 10,000 times"),
        ("{{ text * 999999999 }}" + GOLD, "good ||| bad", "template 'asks' of"),
        ("{{ text.__class__.__mro__ }}" + GOLD, "good ||| bad", "it reads '__class__' of a text, which is not allowed"),
        ("{{ cycler.__init__.__globals__ }}" + GOLD, "good ||| bad", "template 'asks' of"),
        ("{{ self._TemplateReference__context }}" + GOLD, "good ||| bad", "which is not allowed"),
        ("{{ txt }}" + GOLD, "good ||| bad", "there is no field 'txt'; did you mean 'text'?"),
        ("{{ text }}" + GOLD, "{{ choice1 }} ||| bad", "in answer_choices, there is no field 'choice1'"),
        ("{{ text }" + GOLD, "good ||| bad", "it is not valid Jinja, line 1"),
        ("{{ text }}", "good ||| bad", "was written 0 times"),
        ("{{ text }}" + GOLD, "good ||| good", "'good' occurs 2 times"),
        ("{{ text }}" + GOLD, "good ||| ", "answer 1 is empty"),
        ("{{ text }} ||| {{ answer_choices[1 - label] }}", "good ||| bad", "the target is answer 1 of 2"),
        ("{{ text }}" + GOLD, "Ж ||| Я", "two choices with the same tokens, 'Ж' and 'Я'"),
    ],
)
def test_a_broken_template_is_reported_before_anything_runs(
    jinja: str, choices: str, message: str, run_task: Any, task: Path, tmp_path: Path
) -> None:
    write_templates(task, asks=(jinja, choices))
    assert_error(run_task(), message, tmp_path)


def test_all_broken_templates_are_reported_together(run_task: Any, task: Path, tmp_path: Path) -> None:
    write_templates(
        task,
        fine=("{{ text }}" + GOLD, "good ||| bad"),
        misspelled=("{{ txt }}" + GOLD, "good ||| bad"),
        twice=("{{ text }}" + GOLD, "same ||| same"),
    )
    result = run_task("--template", "all", backbone="gpt2")
    assert result.exit_code == 2
    assert "2 errors:" in result.stderr
    assert "no field 'txt'" in result.stderr
    assert "'same' occurs 2 times" in result.stderr
    assert not (tmp_path / "results").exists()
    assert run_task("--template", "fine").exit_code == 0


def test_a_mistake_in_few_rows_of_many_that_are_sorted_by_label_is_found(
    run_task: Any, task: Path, tmp_path: Path
) -> None:
    lines = task.joinpath("train.jsonl").read_text(encoding="utf-8").splitlines()
    task.joinpath("train.jsonl").write_text("\n".join(sorted(lines, key=lambda line: json.loads(line)["label"])))
    write_templates(task, asks=("{{ text if label == 0 else txt }}" + GOLD, "good ||| bad"))
    assert_error(run_task(), "there is no field 'txt'", tmp_path)


def test_a_template_that_skips_rows_is_refused_by_name_and_left_out_of_all_with_a_warning(
    run_task: Any, task: Path, tmp_path: Path
) -> None:
    half = ("{% if label %}{{ text }}" + GOLD + "{% endif %}", "good ||| bad")
    write_templates(task, of_half=half, of_all=("{{ text }}" + GOLD, "good ||| bad"))
    assert_error(run_task("--template", "of half"), "it writes no prompt", tmp_path)
    result = run_task("--template", "all")
    assert result.exit_code == 0
    assert f"--template all leaves out 'of half' of dir:{task}" in result.stderr
    assert only_record(tmp_path).template == "of all"


def test_all_of_templates_that_all_skip_rows_leaves_none(run_task: Any, task: Path, tmp_path: Path) -> None:
    write_templates(task, asks=("{% if label %}{{ text }}" + GOLD + "{% endif %}", "good ||| bad"))
    assert_error(run_task("--template", "all"), "--template all selects none", tmp_path)


def test_an_unknown_template_is_reported_with_the_nearest(run_task: Any, task: Path, tmp_path: Path) -> None:
    write_templates(task, asks=("{{ text }}" + GOLD, "good ||| bad"))
    assert_error(run_task("--template", "aks"), "no template 'aks'; did you mean 'asks'?", tmp_path)


def test_a_templates_file_that_cannot_be_read_is_reported_with_its_line(
    run_task: Any, task: Path, tmp_path: Path
) -> None:
    task.joinpath("templates.yaml").write_text("templates:\n  a: !Template\n    name: [\n", encoding="utf-8")
    result = run_task("--template", "all")
    assert result.exit_code == 2
    assert "templates.yaml, line " in result.stderr


def test_more_demonstrations_than_rows_are_reported(run_task: Any, tmp_path: Path, task: Path) -> None:
    expected = f"icl:k=200 needs 200 training rows, but 96 of dir:{task} are drawn"
    assert_error(run_task("--shots", "all", method="icl:k=200"), expected, tmp_path)
    assert_error(run_task("--shots", "16", method="icl:k=17"), "needs 17 training rows, but 16 of", tmp_path)


def test_more_demonstrations_than_rows_that_selection_leaves_are_reported(
    run_task: Any, tmp_path: Path, task: Path
) -> None:
    (task / "validation.jsonl").unlink()
    message = "needs 40 training rows, but 32 of"
    assert_error(run_task("--shots", "64", "--set", "select=true", method="icl:k=40"), message, tmp_path)


def test_a_choice_that_leaves_no_room_for_its_prompt_is_reported(run_task: Any, task: Path, tmp_path: Path) -> None:
    write_templates(task, asks=("{{ text }}" + GOLD, f"good {'very ' * 300} ||| bad"))
    message = "a choice of 301 tokens, which leaves 0 tokens for its prompt: the model (gpt2) accepts 256 tokens"
    assert_error(run_task(backbone="gpt2", method="icl:k=2"), message, tmp_path)
    assert run_task(method="icl:k=2").exit_code == 0, "T5 has no limit"


def test_a_prompt_that_does_not_fit_even_alone_is_cut_and_counted(run_task: Any, task: Path, tmp_path: Path) -> None:
    write_templates(task, asks=("{{ (text ~ ' ') * 60 }}" + GOLD, "good ||| bad"))
    assert run_task("--set", "max_length=512", backbone="gpt2", method="icl:k=4").exit_code == 0
    record = only_record(tmp_path)
    assert (record.status, record.data.truncated_test, record.prompt.shortened_test) == ("ok", 8, 8)
    assert record.prompt.demonstrations_per_row == 0


@pytest.mark.parametrize(
    ("method", "backbone", "kind", "reason"),
    [
        ("icl", "bert", "classification", "in-context learning needs a language model"),
        ("ia3", "t5", "regression", "is regression; a language model scores choices, so it needs an encoder"),
    ],
)
def test_incompatible_choices_are_skipped_with_the_reason(
    method: str,
    backbone: str,
    kind: str,
    reason: str,
    run_task: Any,
    backbones: dict[str, str],
    task: Path,
    tmp_path: Path,
) -> None:
    if kind == "regression":
        meta = {"task_type": kind, "input_fields": ["text"], "label_field": "label", "metrics": ["pearson"]}
        task.joinpath("meta.json").write_text(json.dumps(meta), encoding="utf-8")
    result = run_task(method=method, backbone=backbones.get(backbone, backbone))
    assert result.exit_code == 0, result.output
    assert "1 cell: 1 skipped" in result.stdout
    assert reason in result.stderr
    assert reason in str(only_record(tmp_path).reason)


def test_all_templates_of_an_encoder_are_none_and_one_by_name_is_refused(
    run_task: Any, backbones: dict[str, str], tmp_path: Path
) -> None:
    assert_error(run_task("--template", "asks", backbone=backbones["bert"]), "is an encoder, which takes no", tmp_path)
    assert run_task("--template", "all", backbone=backbones["bert"]).exit_code == 0
    assert only_record(tmp_path).template is None


def test_cells_of_several_templates_differ_on_the_screen(run_task: Any, task: Path) -> None:
    write_templates(task, one=("{{ text }}" + GOLD, "good ||| bad"), other=("Is it? {{ text }}" + GOLD, "good ||| bad"))
    result = run_task("--template", "all")
    assert f"· {task.name} · one\n" in result.stderr
    assert f"· {task.name} · other\n" in result.stderr
