"""Overrides of a suite, from Python and from a command line."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tunefront import plan, run
from tunefront.bench.cli.main import app
from tunefront.bench.errors import ErrorCollector, UserErrors
from tunefront.bench.pytest_plugin import plugin
from tunefront.bench.suites.overrides import OPTIONS, Overrides
from tunefront.methods.houlsby import Houlsby

TYPED = {
    "methods": ["full", " houlsby:bottleneck=8 "],
    "backbones": ["tiny"],
    "tasks": ["dir:x"],
    "data": ["y.csv"],
    "test": "z.csv",
    "validation": "v.csv",
    "text": ["title,body"],
    "label": " mood ",
    "id": "number",
    "group": "customer",
    "split": "0.3",
    "kind": "classification",
    "header": "yes",
    "prompts": "p.yaml",
    "shots": ["16,all", "64"],
    "draws": "0,1",
    "seeds": " 3 ",
    "templates": ["all"],
    "trials": " 8 ",
    "sampler": "random",
    "settings": ["learning_rate=1e-3", "steps = 5"],
    "device": "cuda:1",
}
MEANT = Overrides(
    methods=["full", "houlsby:bottleneck=8"],
    backbones=["tiny"],
    tasks=["dir:x"],
    data=["y.csv"],
    test="z.csv",
    validation="v.csv",
    text=["title,body"],
    label="mood",
    id="number",
    group="customer",
    split="0.3",
    kind="classification",
    header="yes",
    prompts="p.yaml",
    shots=[16, None, 64],
    draws=[0, 1],
    seeds=[3],
    templates=["all"],
    trials=8,
    sampler="random",
    settings={"learning_rate": "1e-3", "steps": "5"},
    device="cuda:1",
)


def test_texts_become_the_same_overrides_as_in_python(tmp_path: Path) -> None:
    wrong = ErrorCollector()
    file = tmp_path / "sites.toml"
    file.write_text("[of_a_test]\nquery = 'q'\n" + r"block = 'b\.(\d+)'", encoding="utf-8")
    assert Overrides.from_texts({**TYPED, "sites": [str(file)]}, wrong) == replace(MEANT, sites=[str(file)])
    assert not wrong.messages
    assert {*TYPED, "sites"} == OPTIONS.keys()


def test_nothing_typed_is_nothing_given() -> None:
    wrong = ErrorCollector()
    given = Overrides.from_texts(dict.fromkeys(OPTIONS), wrong)
    assert not wrong.messages
    assert not any(getattr(given, name) for name in OPTIONS)


def test_what_is_wrong_in_texts_is_gathered_and_left_out() -> None:
    wrong = ErrorCollector()
    texts: dict[str, Any] = {"seeds": "0,x", "shots": ["8", "0"], "settings": ["a", "b=1", "b=2"], "tasks": [" "]}
    given = Overrides.from_texts(texts, wrong)
    assert (given.seeds, given.shots, given.settings, given.tasks) == ((0,), (8,), {"b": "1"}, None)
    for fact in ("'x'", "'0'", "'a'", "b is set twice, to 1 and 2", "--task"):
        assert any(fact in text for text in wrong.messages), fact
    assert len(wrong.messages) == 5


@pytest.mark.parametrize("settings", [["device=cpu"], {"device": "cpu"}])
def test_the_device_is_one_setting(settings: Any) -> None:
    wrong = ErrorCollector()
    with wrong.collect():
        if isinstance(settings, dict):
            Overrides(settings=settings, device="cuda")
        else:
            Overrides.from_texts({"settings": settings, "device": "cuda"}, wrong)
    (message,) = wrong.messages
    assert "device is set twice, to cuda and cpu" in message
    assert Overrides(settings={"steps": 1}, device="cuda").all_settings() == {"device": "cuda", "steps": 1}


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"backbones": "tiny"}, ["backbones must be a list", "['tiny']"]),
        ({"shots": 8}, ["shots must be a list", "[8]"]),
        ({"seeds": [0, -1], "draws": ["x"]}, ["seeds", "-1", "draws", "'x'"]),
        ({"shots": [0], "tasks": [None], "templates": [3]}, ["shots", "got 0", "got None", "got 3"]),
        ({"methods": [Houlsby]}, ["Houlsby"]),
        ({"methods": [Houlsby(8), 3]}, ["got 3"]),
    ],
)
def test_values_of_another_kind_are_all_reported_together(given: dict[str, Any], facts: list[str]) -> None:
    with pytest.raises(UserErrors) as error:
        Overrides(**given)
    assert [fact for fact in facts if fact not in str(error.value)] == []


def test_it_is_given_by_keyword_and_frozen() -> None:
    with pytest.raises(TypeError):
        Overrides(["full"])  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Overrides().seeds = [0]  # type: ignore[misc]
    assert Overrides(shots=iter([8])).shots == (8,)  # type: ignore[arg-type]


def test_every_front_end_has_every_option() -> None:
    """The options of the command are generated from `Overrides`; those of the plugin are written out and must agree."""
    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    added = {name: option for group in parser._groups for option in group.options for name in option.names()}
    for name, option in OPTIONS.items():
        for command in ("run", "plan"):
            (parameter,) = (known for known in group.commands[command].params if known.name == name)
            assert parameter.opts == [f"--{option.name}"]
            assert parameter.multiple == option.repeatable  # type: ignore[attr-defined]
        assert added[f"--tunefront-{option.name}"].dest == f"tunefront_{option.name}"
        for function in (run, plan):
            assert inspect.signature(function).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert OPTIONS.keys() == {known.name for known in fields(Overrides)} - {"more_methods"}
