"""Files of templates that are wrong, or meant to do harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.templates.tasks import make_task
from tunefront.bench.errors import UserError
from tunefront.bench.templates import find_template, templates_of
from tunefront.bench.templates.plain import Plain


def wrong(tmp_path: Path, content: str | bytes) -> str:
    file = tmp_path / "templates.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    task, _ = make_task({"text": "a"}, templates=file)
    with pytest.raises(UserError) as mistake:
        templates_of(task)
    assert str(file) in str(mistake.value)
    assert find_template(task, "plain") == Plain(), "needs no file"
    return str(mistake.value)


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/object/new:os.system", "!!python/name:os.system", "!Other"]
)
def test_a_tag_that_is_not_promptsources_is_refused_and_nothing_runs(tmp_path: Path, tag: str) -> None:
    marker = tmp_path / "ran"
    message = wrong(tmp_path, f"templates:\n  a: !Template\n    name: {tag} ['touch {marker}']\n")
    assert ", line 3: not valid YAML for templates (could not determine a constructor for the tag" in message
    assert not marker.exists()


def test_merge_keys_are_refused_and_aliases_cost_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 30))]
    assert ", line 2: not valid YAML for templates (a merge key (<<) is not allowed)" in wrong(
        tmp_path, "\n".join(lines)
    )
    laughs = ["l0: &l0 [x]", *(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30))]
    (tmp_path / "other").mkdir()
    message = wrong(tmp_path / "other", "\n".join([*laughs, "templates: {a: !Template {name: *l29, jinja: b}}"]))
    assert "name must be text, got a value of type list" in message


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("templates: [1,", "line 1: not valid YAML for templates ("),
        ("templates: {a: \x01}", "not valid YAML for templates (unacceptable character #x0001"),
        (b"templates: \xe4", "is not UTF-8 (byte 11)"),
        ("", ": templates: {first: !Template {name: "),
        ("- a", "no mapping named templates"),
        ("templates: [a]", "no mapping named templates"),
        ("templates: {a: b}", "template 'a': a template must be a mapping"),
        ("templates: {a: !Template b}", "expected a mapping node, but found scalar"),
        ("templates: {a: {name: b}}", "template 'a': jinja must be text, got a value of type NoneType"),
        ("templates: {a: {name: b, jinja: ''}}", "jinja must be text, got a value of type str"),
        ("templates: {a: {name: 1, jinja: b}}", "name must be text, got a value of type int"),
        (
            "templates: {a: {name: b, jinja: c, answer_choices: Yes}}",
            "answer_choices must be text, got a value of type bool",
        ),
        ("templates: {a: {name: b, jinja: c}, d: {name: b, jinja: c}}", "template 'd': another template is named 'b'"),
        ("templates: {a: {name: plain, jinja: c}}", "'plain' is the name of the built-in template; rename yours."),
        ("templates: " + "9" * 5000, "not valid YAML for templates ("),
        ("[" * 5000, "not valid YAML for templates ("),
        ("#" * 500_001, "more than 500,000 bytes, the limit; split it"),
    ],
)
def test_an_invalid_file_is_a_mistake(tmp_path: Path, content: str | bytes, fact: str) -> None:
    assert fact in wrong(tmp_path, content)


def test_all_problems_of_a_file_are_reported_together(tmp_path: Path) -> None:
    message = wrong(tmp_path, "templates: {a: {name: 1, jinja: b}, c: {name: d}, e: {name: f, jinja: g}}")
    assert message.startswith("2 errors:\n")
    assert "template 'a': name must be" in message
    assert "template 'c': jinja must be" in message


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    task, _ = make_task({"text": "a"}, templates=tmp_path / "absent.yaml")
    with pytest.raises(UserError, match=r"absent.yaml cannot be read: No such file or directory\."):
        templates_of(task)


def test_a_file_that_is_too_large_is_not_called_invalid_yaml_too(tmp_path: Path) -> None:
    assert "YAML" not in wrong(tmp_path, "#" * 500_001)
