"""Fields do not change without the schema version: else a record with other fields would be read as a current one."""

from __future__ import annotations

import dataclasses

from tests.bench.records import schema
from tunefront.bench.records import GROUPS, SCHEMA_VERSION, Record, leaves
from tunefront.bench.records.record import RECIPE_FIELDS, SETTINGS_FIELDS
from tunefront.bench.settings import RunConfig
from tunefront.methods.base import Recipe


def test_the_fields_are_those_that_are_listed_for_the_schema_version() -> None:
    differences = schema.changes(schema.listed(), schema.fields())
    assert differences == [], (
        f"the fields of a record have changed while SCHEMA_VERSION is still {SCHEMA_VERSION}: raise it in "
        f"bench/records/record.py, then list them with `{schema.COMMAND}` (with --replace, and the version as it is, "
        "only where no record of this version is kept anywhere)"
    )


def test_a_field_that_comes_goes_or_changes_its_type_is_a_change() -> None:
    before = {"Record": {"seed": {"type": "integer"}, "shots": {"type": "integer"}}}
    after = {"Record": {"seed": {"type": "number"}, "carbon_grams": {"type": "number"}}}
    assert schema.changes(before, after) == [
        "Record.seed has another type",
        "Record.shots is gone",
        "Record.carbon_grams is new",
    ]
    assert schema.changes(before, before) == []


def test_every_field_and_bound_is_listed() -> None:
    listed = schema.fields()
    assert set(listed["Record"]) == set(Record.model_fields)
    opened = [f"{name}.{leaf}" for name, group in GROUPS.items() for leaf in listed[group.__name__]]
    assert {*listed["Record"], *opened} - set(GROUPS) == set(leaves())
    assert schema.fields()["Seconds"]["train"]["anyOf"][0] == {"minimum": 0, "type": "number"}


def test_recipes_and_settings_hold_what_a_record_says_of_them() -> None:
    assert tuple(field.name for field in dataclasses.fields(Recipe)) == RECIPE_FIELDS
    assert tuple(field.name for field in dataclasses.fields(RunConfig)) == SETTINGS_FIELDS
