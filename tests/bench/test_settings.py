"""Settings: descriptions, reading from texts, and errors for wrong values."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from tunefront.bench.errors import UserError
from tunefront.bench.settings import SETTINGS, RunConfig, build, parse_setting
from tunefront.methods.base import Recipe


def test_every_setting_has_a_description_and_its_default() -> None:
    plain = {**asdict(Recipe()), **asdict(RunConfig())}
    assert list(SETTINGS) == list(plain)
    assert len(SETTINGS) == len(fields(Recipe)) + len(fields(RunConfig)), "no name stands in both tables"
    for name, known in SETTINGS.items():
        assert known.default == plain[name]
        assert 10 < len(known.help) < 200
        assert not known.help.endswith(".")


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("learning_rate", "1e-3", 1e-3),
        ("learning_rate", " 1e-3 ", 1e-3),
        ("epochs", "100", 100.0),
        ("epochs", 30, 30.0),
        ("steps", "100", 100),
        ("steps", "none", None),
        ("steps", "None", None),
        ("dropout", "null", None),
        ("dropout", None, None),
        ("balanced", "true", True),
        ("balanced", "False", False),
        ("balanced", True, True),
        ("normalization", "none", "none"),
        ("device", "cuda:1", "cuda:1"),
    ],
)
def test_a_value_is_of_its_type_whether_typed_or_given(name: str, given: object, meant: object) -> None:
    read = parse_setting(name, given)[name]
    assert read == meant
    assert type(read) is type(meant)


def test_a_whole_number_and_the_same_fraction_are_one_recipe() -> None:
    (typed,) = (build(parse_setting("epochs", value), Recipe) for value in ["30"])
    given, exact = (build(parse_setting("epochs", value), Recipe) for value in (30, 30.0))
    assert typed == given == exact
    assert repr(asdict(given)) == repr(asdict(exact))


@pytest.mark.parametrize(
    ("name", "given", "facts"),
    [
        ("steps", "x", ["steps", "int or none", "'x'"]),
        ("steps", 1.5, ["steps", "int or none", "1.5"]),
        ("steps", True, ["steps", "True"]),
        ("epochs", "many", ["epochs", "float", "'many'"]),
        ("epochs", None, ["epochs", "float", "None"]),
        ("epochs", False, ["epochs", "float", "False"]),
        ("balanced", 1, ["balanced", "bool", "1"]),
        ("device", 3, ["device", "str", "3"]),
        ("steps", [1], ["steps", "[1]"]),
        ("dtype", "float33", ["dtype", "bfloat16", "'float33'", "did you mean 'float32'?"]),
        ("normalization", "tokn", ["normalization", "byte", "'tokn'", "did you mean 'token'?"]),
        ("warmup", "2", ["warmup", "below 1", "2.0"]),
        ("threads", "99999999999", ["threads", "1,024"]),
        ("warmp", "2", ["'warmp'", "did you mean 'warmup'?", "tunefront list settings"]),
    ],
)
def test_a_wrong_setting_is_reported_with_its_value_and_the_allowed_ones(
    name: str, given: object, facts: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        parse_setting(name, given)
    assert [fact for fact in facts if fact not in str(error.value)] == []


@pytest.mark.parametrize(
    ("name", "table", "home"), [("steps", "settings", "[recipe]"), ("threads", "recipe", "[settings]")]
)
def test_a_setting_in_the_wrong_table_is_reported_with_its_own(name: str, table: str, home: str) -> None:
    with pytest.raises(UserError) as error:
        parse_setting(name, 1, table)
    assert home in str(error.value)


def test_an_unknown_field_is_reported_with_those_of_its_table_only() -> None:
    with pytest.raises(UserError) as error:
        parse_setting("thread", 1, "recipe")
    assert "threads" not in str(error.value)


def test_values_that_exclude_each_other_are_reported() -> None:
    values = dict.fromkeys(("likelihood_weight", "unlikelihood_weight", "length_normalised_weight"), 0.0)
    with pytest.raises(UserError, match="must be above 0"):
        build(values, Recipe)
