"""What a tracker is told of a record."""

from __future__ import annotations

import datetime
import json

from tests.bench.records.made import changed
from tests.reports.factory import failed, ledger, record
from tunefront.bench.records import Record, Span
from tunefront.reports.trackers.content import LONGEST_NAME, content, is_field

WHOLE = ledger(record(label="ia3", shots=100, recipe={"learning_rate": 3e-4, "balanced": True, "dropout": None}))


def test_recipe_and_settings_are_parameters_and_other_numbers_are_metrics() -> None:
    made = content(WHOLE)
    assert made.params["recipe.learning_rate"] == 3e-4
    assert made.params["settings.max_length"] == 128
    assert made.metrics["scores.test.accuracy"] == WHOLE.score == made.metrics["score"]
    assert made.metrics["flops.phases.forward.counted"] == WHOLE.flops.phases["forward"].counted  # type: ignore[index]
    assert not {name for name in made.metrics if name.startswith(("recipe.", "settings."))}


def test_what_is_missing_is_missing_and_never_zero() -> None:
    made = content(WHOLE)
    assert WHOLE.flops.prefix is None
    assert "flops.prefix" not in made.metrics
    assert "recipe.dropout" not in made.params
    assert "template" not in made.tags
    zero = content(changed(WHOLE, {"flops.prefix": 0}))
    assert zero.metrics["flops.prefix"] == 0


def test_a_metric_ends_with_its_unit_where_its_field_does_not() -> None:
    assert WHOLE.memory.phases is not None
    metrics = content(WHOLE).metrics
    assert metrics["memory.phases.forward.inputs_bytes"] == WHOLE.memory.phases["forward"]["inputs"]
    assert metrics["storage.checkpoint_bytes"] == WHOLE.storage.checkpoint_bytes
    assert "memory.phases.forward.inputs" not in metrics


def test_what_names_a_cell_is_a_tag() -> None:
    made = content(changed(WHOLE, {"template": "plain", "draw_seed": 3}))
    wanted = {"label": "ia3", "backbone": "minilm", "task": "sst2", "template": "plain", "shots": "100"}
    assert wanted | {"draw_seed": "3", "seed": "0", "status": "ok"} == {
        name: text for name, text in made.identity.items() if name != "method"
    }
    assert content(record()).tags["shots"] == "all"
    assert not {"shots", "draw_seed", "seed", "schema_version"} & set(made.metrics)


def test_a_failed_cell_has_its_reason_and_no_metric() -> None:
    made = content(failed(reason="loss is not finite at step 12"))
    assert (made.status, made.tags["status"], made.tags["reason"]) == (
        "failed",
        "failed",
        "loss is not finite at step 12",
    )
    assert not made.metrics


def test_spans_are_counted_and_lists_of_texts_are_in_the_whole_record_alone() -> None:
    spans = (Span(first=0, last=1, plugs=4, scores={"accuracy": 0.5}), Span(first=2, last=2, plugs=2, scores={}))
    made = content(changed(WHOLE, {"spans": spans, "data.warnings": ("odd", "rows")}))
    assert made.metrics["spans.0.scores.accuracy"] == 0.5
    assert made.metrics["spans.1.first"] == 2
    assert "data.warnings" not in made.tags
    assert json.loads(made.whole)["data"]["warnings"] == ["odd", "rows"]


def test_a_number_that_is_none_is_left_out() -> None:
    made = content(changed(WHOLE, {"training.final_loss": float("nan")}))
    assert "training.final_loss" not in made.metrics


def test_the_name_of_a_run_is_one_plain_line() -> None:
    made = content(changed(WHOLE, {"label": "a\x1b[31m\nb\u202e", "task": "t" * 1000}))
    assert made.name.isprintable()
    assert len(made.name) <= LONGEST_NAME


def test_the_name_of_a_run_is_short_and_its_tags_are_not() -> None:
    made = content(changed(WHOLE, {"task": "dir:/data/of/mine/trec", "backbone": "models/tiny", "draw_seed": 3}))
    assert made.name == "ia3 · tiny · trec · 100 training rows · draw 3 · seed 0"
    assert (made.tags["task"], made.tags["backbone"]) == ("dir:/data/of/mine/trec", "models/tiny")


def test_the_digest_is_that_of_the_whole_record() -> None:
    assert content(WHOLE).digest == content(Record.model_validate_json(content(WHOLE).whole)).digest
    assert content(WHOLE).digest != content(changed(WHOLE, {"seconds.train": 1.0})).digest


def test_a_run_ends_when_its_record_was_written() -> None:
    moment = datetime.datetime(2025, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert content(WHOLE).ended == moment
    without = content(changed(WHOLE, {"environment.created_at": None})).ended
    assert without.tzinfo is not None
    assert without > moment


def test_every_name_is_that_of_a_field() -> None:
    made = content(WHOLE)
    assert all(is_field(name) for name in (*made.metrics, *made.params, *made.tags))
