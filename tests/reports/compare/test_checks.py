"""Records that differ in a field that matters are not drawn together; `where` separates them."""

from contextlib import nullcontext

import pytest

from tests.reports.factory import failed, grid, record
from tests.reports.prompted import prompted
from tunefront.bench.errors import UserError
from tunefront.bench.records import SCHEMA_VERSION
from tunefront.reports.compare.checks import check, differing_settings, find_timing_mismatch
from tunefront.reports.compare.filters import select


def _recipe(**changes):
    return {**record().recipe, **changes}


def test_different_dtypes_are_refused_with_a_filter_that_separates_them():
    records = [*grid(["full"]), record(label="ia3", recipe=_recipe(dtype="bfloat16"))]
    with pytest.raises(UserError) as error:
        check(records)
    assert "dtype differs (bfloat16, float32)" in str(error.value)
    assert "--where dtype=float32" in str(error.value)
    check(select(records, ["dtype=float32"]))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "schema_version"),
        ({"environment.device": "cuda"}, "device"),
        ({"settings": {**record().settings, "max_length": 64}}, "max_length"),
        ({"settings": {**record().settings, "eval_rows": 100}}, "eval_rows"),
        ({"data.eval_split": "validation"}, "eval_split of task sst2"),
        ({"scores.headline": "f1"}, "headline of task sst2"),
        ({"fingerprints": {"task": "f" * 64}}, "task_fingerprint of task sst2"),
        ({"fingerprints": {"backbone": "f" * 64}}, "backbone_fingerprint of backbone minilm"),
        ({"fingerprints": {"method": "f" * 64}}, "method_fingerprint of method full"),
    ],
)
def test_fields_that_matter_are_named(changes, field):
    with pytest.raises(UserError, match=f"{field} differs"):
        check([record(), record(seed=1, **changes)])


def test_all_differences_are_reported_at_once():
    other = record(seed=1, environment__device="cuda", recipe=_recipe(dtype="bfloat16"))
    with pytest.raises(UserError, match="2 errors"):
        check([record(), other])


def test_fingerprints_may_differ_between_tasks_and_backbones():
    check([record(), record(task="trec"), record(backbone="nano", fingerprints={"backbone": "f" * 64})])


def _settings(**changes):
    return {**record().settings, **changes}


def test_settings_may_differ_between_backbones_and_not_on_one():
    nano = [record(backbone="nano", seed=seed, settings=_settings(max_length=64, eval_rows=200)) for seed in (0, 1)]
    check([*grid(["full"]), *nano])
    odd = record(backbone="nano", seed=2, settings=_settings(max_length=32, eval_rows=200))
    with pytest.raises(UserError) as error:
        check([*grid(["full"]), *nano, odd])
    assert "max_length of backbone nano on task sst2 differs (32, 64)" in str(error.value)
    assert "--where max_length!=32" in str(error.value)
    check(select([*grid(["full"]), *nano, odd], ["max_length!=32"]))


@pytest.mark.parametrize(
    ("changes", "fitted"),
    [
        ({"task": "trec", "settings": _settings(max_length=64, select=False)}, True),
        ({"shots": 16, "settings": _settings(select=False)}, True),
        ({"shots": 16, "settings": _settings(max_length=64)}, False),
        ({"task": "trec", "settings": _settings(eval_rows=64)}, False),
    ],
)
def test_what_is_fitted_to_a_task_may_differ_between_tasks(changes, fitted):
    """Lengths belong to a task; whether rows are held out, also to the number of shots."""
    with nullcontext() if fitted else pytest.raises(UserError):
        check([record(settings=_settings(select=True)), record(**{"settings": _settings(select=True), **changes})])


def test_settings_that_differ_are_named_and_those_of_prompts_only_if_there_are_prompts():
    changed = {**prompted().settings, "eval_rows": 200, "threads": 2, "normalization": "char"}
    assert differing_settings([record(settings=changed), prompted()]) == {"eval_rows": ["200", "none"]}
    values = differing_settings([prompted(settings=changed), prompted()])
    assert values == {"eval_rows": ["200", "none"], "normalization": ["char", "token"]}


def test_a_fingerprint_can_be_filtered_by_its_first_characters():
    records = [record(), record(seed=1, fingerprints={"task": "f" * 64})]
    assert select(records, {"task_fingerprint": "f" * 12}) == records[1:]


def test_the_same_cell_twice_is_not_one_more_seed():
    records = [record(), record(versions={"torch": "2.10.0", "transformers": "5.0.0"})]
    with pytest.raises(UserError, match=r"1 cell is recorded more than once; .* torch differs \(2.10.0, 2.9.0\)"):
        check(records)
    check(select(records, ["torch=2.9.0"]))


def test_the_same_record_twice_is_named():
    with pytest.raises(UserError, match=f"{record().key} .*more than once"):
        check([record(), record()])


@pytest.mark.parametrize(("field", "value"), [("threads", 2), ("concurrent_cells", 1), ("cpu_model", "another")])
def test_uneven_timing_names_the_field(field, value):
    assert find_timing_mismatch(grid(["full"])) is None
    assert f"{field} differs" in (
        find_timing_mismatch([record(), record(seed=1, **{f"environment.{field}": value})]) or ""
    )


@pytest.mark.parametrize(
    ("where", "amount"),
    [
        (None, 8),
        ({"task": "sst2"}, 2),
        (["task=sst2", "task=trec", "seed=0"], 2),
        ({"seed": 1}, 4),
        (["learning_rate=0.0003"], 8),
        (["learning_rate=3e-4"], 8),
        (["dropout=none"], 8),
        (["max_length=128"], 8),
        ({"eval_rows": None}, 8),
        ("label=full", 8),
        ({"parameters.trainable!": 3}, 8),
        ({"data.n_train": 2000}, 8),
        (["n_train=2000"], 8),
        (["environment.device=cpu", "device=cpu"], 8),
    ],
)
def test_where_keeps_matching_records(where, amount):
    assert len(select(grid(["full"]), where)) == amount


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (["tsk=sst2"], "no field 'tsk'; did you mean 'task'"),
        (["task"], "takes field=value or field!=value"),
        (["task=mnli"], r"task=mnli.*8 records.*mrpc, sst2, subj, trec"),
    ],
)
def test_errors_of_where_name_the_available_values(where, message):
    with pytest.raises(UserError, match=message):
        select(grid(["full"]), where)


def test_skipped_cells_without_the_field_stay_with_their_reasons():
    records = [record(), failed(), failed(label="full", recipe={"dtype": "bfloat16"})]
    assert select(records, ["dtype=float32"]) == records[:2]


def test_the_filter_for_changed_task_rows_keeps_the_other_tasks():
    old = record(fingerprints={"task": "f" * 64}, environment__created_at="2024-01-01T00:00:00Z")
    records = [old, record(seed=1), *grid(["full"], tasks=["trec"])]
    with pytest.raises(UserError, match=r"Filter with --where task_fingerprint!=f{12}\.$"):
        check(records)
    assert select(records, [f"task_fingerprint!={'f' * 12}"]) == records[1:]
    assert select(records, {"task_fingerprint!": "f" * 12, "seed": 1}) == [records[1], records[3]]


@pytest.mark.parametrize(("name", "value"), [("normalization", "char"), ("context_length", 512)])
def test_prompts_set_differently_are_refused_and_encoders_may_differ(name, value):
    other = {**prompted().settings, name: value}
    with pytest.raises(UserError, match=f"{name} differs"):
        check([prompted(), prompted(template="other", settings=other)])
    check([prompted(), record(settings=other)])


def test_a_template_that_was_changed_is_another_one():
    prints = {**prompted().fingerprints, "template": "f" * 64}
    records = [prompted(), prompted(seed=1, fingerprints=prints)]
    with pytest.raises(UserError, match="template_fingerprint of template 'GPT-3 style' of task dir:data/rte differs"):
        check(records)
    check(select(records, ["template_fingerprint!=ffffffffffff"]))
    check([prompted(), prompted(template="other"), prompted(task="dir:data/cb")])


def test_templates_and_draws_can_be_filtered():
    records = [prompted(template=t, draw_seed=d) for t in ("can we infer", "a=b") for d in (0, 1)]
    encoder = record(settings=prompted().settings)
    assert select([*records, encoder], ["template=can we infer", "draw_seed=1"]) == [records[1]]
    assert select(records, ["template=a=b"]) == records[2:]
    assert select([*records, encoder], ["template=none"]) == [encoder]
