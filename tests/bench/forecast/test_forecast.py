"""Whole forecasts: whether plans fit, sweeps, and plans that are saved and reported."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.records.made import changed
from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.forecast.fit import MOST_ROWS
from tunefront.bench.forecast.forecast import STEP_PHASES, Predictor, keep_predictions
from tunefront.bench.forecast.sizes import Sweep
from tunefront.bench.forecast.synthetic import SyntheticRows
from tunefront.bench.forecast.targets import Target, cell_targets, synthetic_targets
from tunefront.bench.records import Record, load_plans
from tunefront.bench.records.plans import Plans
from tunefront.bench.records.store import Store
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.bench.suites.overrides import Overrides
from tunefront.methods.houlsby import Houlsby
from tunefront.methods.spelling import parse
from tunefront.reports.sections.document import compose

LENGTHS = SyntheticRows(tokens=16, train_rows=6, test_rows=5)
SETTINGS = {"batch_size": 4, "steps": 2, "eval_batch_size": 4}


def config_of(folder: str) -> str:
    return str(Path(folder) / "config.json")


def planned(backbone: str, *spelled: str, lengths: SyntheticRows = LENGTHS) -> list[Target]:
    overrides = Overrides(methods=spelled, backbones=[config_of(backbone)], settings=SETTINGS)
    return synthetic_targets(overrides, lengths, ErrorCollector())


def test_a_sweep_over_batches_grows_beyond_the_requested_rows(backbones: dict[str, str]) -> None:
    """Six rows fill no batch of 12: its peak would be that of six."""
    sweep = Predictor().forecast(planned(backbones["bert"], "full"), sweep=Sweep("batch", (6, 12, 24))).sweep
    peaks = [record.peak_memory_bytes for records in sweep.values() for record in records]
    assert peaks == sorted(set(peaks))
    assert peaks[2] - peaks[1] == pytest.approx(2 * (peaks[1] - peaks[0]), rel=0.1)


def test_a_sweep_over_lengths_has_a_record_for_each(backbones: dict[str, str]) -> None:
    sweep = Predictor().forecast(planned(backbones["bert"], "full", "ia3"), sweep=Sweep("length", (16, 24))).sweep
    assert {size: [record.label for record in records] for size, records in sweep.items()} == {
        16: ["full", "ia3"],
        24: ["full", "ia3"],
    }
    assert {record.task for record in sweep[24]} == {"synthetic rows of 24 tokens, 2 choices of 1"}
    assert all(a.peak_memory_bytes < b.peak_memory_bytes for a, b in zip(sweep[16], sweep[24], strict=True))


def test_a_batch_sweep_shows_the_same_number_of_demonstrations_at_each_size(language_models: dict[str, str]) -> None:
    sweep = Predictor().forecast(planned(language_models["gpt2"], "icl"), sweep=Sweep("batch", (2, 12))).sweep
    assert {record.prompt.prefix_tokens for records in sweep.values() for record in records} == {6 * 17}
    assert sweep[2][0].peak_memory_bytes < sweep[12][0].peak_memory_bytes


def test_equal_scoring_has_equal_predicted_seconds(language_models: dict[str, str]) -> None:
    rows = planned(language_models["gpt2"], "full", "icl:k=0", "houlsby:bottleneck=2")
    full, zero_shot, houlsby = Predictor(timed=True).forecast(rows)
    assert full.flops.inference_per_example == zero_shot.flops.inference_per_example
    assert full.seconds.eval == zero_shot.seconds.eval > 0
    assert houlsby.seconds.eval > full.seconds.eval


def test_a_known_cell_is_not_predicted_again(backbones: dict[str, str]) -> None:
    messages: list[str] = []
    predictor = Predictor(on_status=messages.append)
    rows = planned(backbones["bert"], "ia3")
    predictor.forecast(rows)
    predictor.forecast(rows)
    assert len(messages) == 1


@pytest.mark.parametrize("method", ["ia3", "features"])
def test_the_largest_batches_fit_and_one_row_more_does_not(method: str, backbones: dict[str, str]) -> None:
    rows, predictor = planned(backbones["bert"], method), Predictor()
    (fit,) = predictor.forecast(rows, memory=2_500_000).fits.values()
    assert fit.fits
    steps = STEP_PHASES, fit.largest_batch
    others = ("features", "evaluation"), fit.largest_scoring_batch
    for phases, batch in (steps, others):
        assert batch is not None
        assert batch > 8
        sweep = predictor.forecast(rows, sweep=Sweep("batch", (batch, batch + 1))).sweep
        fitting, beyond = (
            max(sum(owners.values()) for phase, owners in records[0].memory.phases.items() if phase in phases)
            for records in sweep.values()
        )
        assert fitting <= 2_500_000
        assert beyond > 2_500_000 or batch == MOST_ROWS


def test_a_plan_that_does_not_fit_has_a_smaller_largest_batch(backbones: dict[str, str]) -> None:
    """The largest batches of training and scoring are found separately, so that a plan with both fits."""
    (target,) = planned(backbones["bert"], "features")
    (record,) = Predictor().forecast([target])
    memory = record.peak_memory_bytes - 1
    (fit,) = Predictor().forecast([target], memory=memory).fits.values()
    assert not fit.fits
    assert fit.largest_scoring_batch < target.cell.config.eval_batch_size
    config = replace(target.cell.config, eval_batch_size=fit.largest_scoring_batch)
    (smaller,) = (
        Predictor().forecast([replace(target, cell=replace(target.cell, config=config))], memory=memory).fits.values()
    )
    assert smaller.fits


def test_a_device_that_is_too_small_is_an_error_with_the_smallest_peak(backbones: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"1,000 bytes: .* \d+,\d+ bytes \(ia3\).* --device-memory"):
        Predictor().forecast(planned(backbones["bert"], "full", "ia3"), memory=1000)


def test_demonstrations_that_do_not_fit_are_skipped_and_other_cells_are_planned(
    language_models: dict[str, str],
) -> None:
    rows = planned(
        language_models["gpt2"], "icl", "icl:k=3", "full", lengths=SyntheticRows(60, train_rows=8, test_rows=4)
    )
    skipped, shorter, full = Predictor().forecast(rows).records
    assert (shorter.status, full.status) == ("planned", "planned")
    assert skipped.status == "skipped"
    assert skipped.reason is not None
    assert "8 demonstrations and a query of 60 tokens with an answer of 1 are 549 tokens" in skipped.reason
    assert re.search(r"\b256; only 3 ", skipped.reason)


def test_not_even_one_demonstration_may_fit(language_models: dict[str, str]) -> None:
    rows = planned(language_models["bart"], "icl", lengths=SyntheticRows(200, train_rows=2, test_rows=2))
    (record,) = Predictor().forecast(rows).records
    assert record.status == "skipped"
    assert "256; not even one" in str(record.reason)


def real(backbone: str, task: str, seed: int = 0, **recipe: Any) -> Cell:
    method = parse("ia3")
    config = RunConfig(eval_batch_size=4, eval_rows=6)
    return Cell(
        method,
        backbone,
        task,
        resolve_recipe(method, {"batch_size": 4, "steps": 2, **recipe}),
        8,
        0,
        seed,
        config=config,
    )


def test_cells_that_differ_in_seeds_are_planned_once(backbones: dict[str, str], toy_folder: str) -> None:
    cells = [real(backbones["bert"], toy_folder, seed) for seed in (0, 1)]
    assert [target.cell for target in cell_targets([*cells, real(backbones["bert"], toy_folder, steps=3)])] == [
        cells[0],
        real(backbones["bert"], toy_folder, steps=3),
    ]


def test_a_batch_is_not_larger_than_the_number_of_rows(backbones: dict[str, str], toy_folder: str) -> None:
    (fit,) = Predictor().forecast(cell_targets([real(backbones["bert"], toy_folder)]), memory=10**9).fits.values()
    assert fit.largest_batch == 8


def test_saved_plans_are_read_and_reported_with_their_runs(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    cell = real(backbones["bert"], toy_folder)
    records = Predictor().forecast(cell_targets([cell])).records
    skipped = Record(**{**records[0].model_dump(), "key": "other", "status": "skipped", "reason": "none"})
    Plans(str(tmp_path / "results")).keep([*records, skipped])
    plans = load_plans(tmp_path / "results")
    assert [plan.key for plan in plans] == [records[0].key]
    assert plans[0].flops.train == records[0].flops.train
    measured, _ = run_cell(cell)
    report = compose([measured], plans=plans)
    (ledger,) = [ledger for page in report.pages for ledger in page.ledgers if ledger.tag == "predicted"]
    captions = [table.caption for table in ledger.tables]
    assert "Predicted FLOPs" in captions
    assert "Predicted memory" in captions


def test_the_first_prediction_stays(tmp_path: Path, backbones: dict[str, str], toy_folder: str) -> None:
    kept = Plans(str(tmp_path))
    (first,) = Predictor().forecast(cell_targets([real(backbones["bert"], toy_folder)])).records
    timed = changed(first, {"seconds.eval": 2.0})

    def saved(*plans: Record) -> list[tuple[str | None, float | None]]:
        for plan in plans:
            kept.keep([plan])
        return [(plan.environment.created_at, plan.seconds.eval) for plan in load_plans(tmp_path)]

    assert saved(first, changed(first, {"environment.created_at": "later"})) == [(first.environment.created_at, None)]
    assert saved(timed, changed(timed, {"seconds.eval": 3.0}), first) == [(first.environment.created_at, 2.0)]
    (tmp_path / "plans" / f"{first.key}.json").write_text("torn", encoding="utf-8")
    assert saved(first) == [(first.environment.created_at, None)]
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"{first.key}.json").touch()
    assert saved(timed) == [(first.environment.created_at, None)], "it has run since"


def test_a_plan_for_synthetic_rows_is_overwritten(tmp_path: Path, backbones: dict[str, str]) -> None:
    (first,) = Predictor().forecast(planned(backbones["bert"], "ia3")).records
    for record in (first, changed(first, {"environment.created_at": "later"})):
        Plans(str(tmp_path)).keep([record])
    assert [plan.environment.created_at for plan in load_plans(tmp_path)] == ["later"]


def test_cells_that_have_run_are_not_predicted(tmp_path: Path, backbones: dict[str, str], toy_folder: str) -> None:
    old, again, new = (real(backbones["bert"], toy_folder, steps=steps) for steps in (1, 2, 3))
    store = Store(tmp_path)
    store.prepare()
    for cell, status in ((old, "skipped"), (again, "failed")):
        (known,) = Predictor().forecast(cell_targets([cell])).records
        store.write(known.model_copy(update={"status": status, "reason": "none"}))
    keep_predictions([old, again, new], str(tmp_path), 1, lambda _: None)
    assert {plan.key for plan in load_plans(tmp_path)} == {Identity.of(again).key, Identity.of(new).key}
    keep_predictions([old], str(tmp_path), 1, lambda _: None)


def test_the_folder_of_plans_is_checked_before_and_nothing_is_left_there(tmp_path: Path) -> None:
    assert Plans(str(tmp_path / "a" / "b")).location == str(tmp_path / "a" / "b" / "plans")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=r"file \(Not a directory\).* --out"):
        Plans(str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"nosuch://x cannot be written .*nosuch"):
        Plans("nosuch://x")


def test_plans_at_a_url_are_kept_as_in_a_folder(tmp_path: Path, backbones: dict[str, str], toy_folder: str) -> None:
    (first,) = Predictor().forecast(cell_targets([real(backbones["bert"], toy_folder)])).records
    timed, url = changed(first, {"seconds.eval": 2.0}), f"memory://{tmp_path.name}/plans-of-a-url"
    kept = Plans(url)
    for plan in (first, timed, changed(timed, {"seconds.eval": 3.0})):
        kept.keep([plan])
    assert [plan.seconds.eval for plan in load_plans(url)] == [2.0]
    assert kept.put("peak.svg", b"<svg/>") == f"{url}/plans/peak.svg"
    assert kept.location == f"{url}/plans"


def test_from_python_a_suite_and_synthetic_rows_can_be_planned(backbones: dict[str, str], toy_folder: str) -> None:
    from tunefront import plan

    method, backbone = Houlsby(2), backbones["bert"]
    chosen: dict[str, Any] = {"methods": [method], "backbones": [backbone], "tasks": [toy_folder], "seeds": [3]}
    real, all_rows = plan("quick", **chosen, shots=[8, None])
    (synthetic,) = plan(methods=[method], backbones=[backbone], length=16, shots=[8], choices=3)
    assert (real.status, real.task, real.data.n_train, real.seed) == ("planned", toy_folder, 8, 3)
    assert all_rows.data.n_train > 8
    assert (synthetic.status, synthetic.data.n_train, synthetic.label) == ("planned", 8, "houlsby:bottleneck=2")
    assert synthetic.parameters.head == 3 * 33
    assert real.environment.created_at is not None
    assert synthetic.environment.created_at is not None


def test_from_python_a_plan_has_fits_and_sweeps(backbones: dict[str, str]) -> None:
    from tunefront import plan

    sizes = {"length": 16, "shots": [4], "settings": {"batch_size": 4}}
    forecast = plan(
        methods=["ia3"], backbones=[backbones["bert"]], device_memory="200kB", sweep={"batch": [1, 2]}, **sizes
    )
    (record,) = forecast
    assert len(forecast) == 1
    assert record.peak_memory_bytes > 200_000
    assert not forecast.fits[record.key].fits
    assert forecast.fits[record.key].largest_batch in (1, 2, 3)
    peaks = [records[0].peak_memory_bytes for records in forecast.sweep.values()]
    assert list(forecast.sweep) == [1, 2]
    assert 0 < peaks[0] < peaks[1] < record.peak_memory_bytes
    with pytest.raises(UserError, match=r"'much'.* 24GB"):
        plan(methods=["ia3"], backbones=[backbones["bert"]], length=16, device_memory="much")
