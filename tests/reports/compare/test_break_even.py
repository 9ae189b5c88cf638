"""Train or prompt: where total costs are equal, and which records are compared."""

from __future__ import annotations

import math
import random
from io import StringIO

import pytest
from rich.console import Console

from tests.reports.factory import plan, record
from tests.reports.prompted import prompted
from tunefront.reports.compare.break_even import Crossing, Line, crossing
from tunefront.reports.compare.query_comparison import compare_ways
from tunefront.reports.compare.query_costs import WITH_CACHE, WITHOUT_CACHE, list_ways
from tunefront.reports.costs.train_or_prompt import break_even_table
from tunefront.reports.formats.terminal import as_rich
from tunefront.reports.plots import panel_plots
from tunefront.reports.sections import document


@pytest.mark.parametrize(
    ("trained", "prompt", "expected"),
    [
        (Line(1000, 1), Line(0, 5), Crossing("after", 250)),
        (Line(1000, 1), Line(100, 5), Crossing("after", 225)),
        (Line(0, 1), Line(1000, 5), Crossing("always")),
        (Line(0, 1), Line(0, 5), Crossing("always")),
        (Line(3, 1), Line(0, 5), Crossing("always")),  # they meet before the first query
        (Line(1000, 5), Line(0, 1), Crossing("never")),
        (Line(0, 5), Line(3, 1), Crossing("never")),
        (Line(0, 5), Line(1000, 1), Crossing("until", 250)),
        (Line(1000, 5), Line(0, 5), Crossing("never")),
        (Line(0, 5), Line(1000, 5), Crossing("always")),
        (Line(7, 5), Line(7, 5), Crossing("same")),
    ],
)
def test_costs_are_equal_at_the_queries_of_the_closed_formula(trained, prompt, expected):
    assert crossing(trained, prompt) == expected


def test_training_costs_less_on_the_right_side_of_the_crossing():
    trained, prompt = Line(5.3e12, 2.2e8), Line(4.1e9, 1.7e9)
    meeting = crossing(trained, prompt)
    assert meeting.queries == pytest.approx((5.3e12 - 4.1e9) / (1.7e9 - 2.2e8))
    before, after = math.floor(meeting.queries), math.ceil(meeting.queries)
    assert trained.at(before) > prompt.at(before)
    assert trained.at(after) < prompt.at(after)


def test_a_crossing_has_words():
    assert Crossing("after", 1233.2).words == "after 1,234 queries"
    assert Crossing("until", 1.5).words == "up to 1 query"
    assert Crossing("never").words == "never"
    assert Crossing("always").words == "from the first query"


NUMBERS = {
    "flops.train": 900_000,
    "seconds.train": 90.0,
    "flops.inference_per_example": 1000.0,
    "examples_per_second.eval": 4.0,
    "storage.checkpoint_bytes": 5000,
}
PROMPT = {
    "flops.prefix": 8_500,
    "seconds.prefix": 2.0,
    "flops.inference_per_example": 1500.0,
    "flops.inference_per_example_without_reuse": 10_000.0,
    "examples_per_second.eval": 2.0,
    "storage.demonstration_bytes": 400,
    "prompt.kv_cache_bytes": 64_000,
}


def rows(**prompt):
    return {
        "a": [prompted(label="ia3", **NUMBERS)],
        "b": [prompted(label="icl:k=4", **{**PROMPT, **prompt})],
        "c": [prompted(label="icl:k=0", **{**NUMBERS, "flops.train": 0, "storage.checkpoint_bytes": 0})],
    }


def test_lines_have_the_numbers_of_the_records():
    trained, with_cache, without_cache, zero = list_ways(rows())
    assert (trained.label, trained.flops, trained.seconds) == ("a", Line(900_000, 1000), Line(90, 0.25))
    assert (with_cache.how, with_cache.flops, with_cache.seconds) == (WITH_CACHE, Line(8_500, 1500), Line(2, 0.5))
    assert (without_cache.how, without_cache.flops, without_cache.seconds) == (
        WITHOUT_CACHE,
        Line(0, 10_000),
        Line(0, 2.5),
    )
    assert (zero.how, zero.flops, zero.seconds) == ("", Line(0, 1000), Line(0, 0.25))
    assert [way.kept_bytes for way in (trained, with_cache, without_cache, zero)] == [5000, 64_400, 400, 0]


def test_every_trained_method_meets_every_prompt():
    crossings = {
        (pair.prompted.label, pair.prompted.how): pair.crossing for pair in compare_ways(list_ways(rows()), "flops")
    }
    assert crossings == {
        ("b", WITH_CACHE): Crossing("after", 891_500 / 500),
        ("b", WITHOUT_CACHE): Crossing("after", 100),
        ("c", ""): Crossing("never"),
    }
    seconds = {
        (pair.prompted.label, pair.prompted.how): pair.crossing for pair in compare_ways(list_ways(rows()), "seconds")
    }
    assert seconds == {
        ("b", WITH_CACHE): Crossing("after", 352),
        ("b", WITHOUT_CACHE): Crossing("after", 40),
        ("c", ""): Crossing("unclear", reason="both need the same FLOPs per query"),
    }


def test_if_nothing_can_be_cached_the_timed_queries_read_their_demonstrations():
    _, without_cache, _ = list_ways(rows(flops__prefix=None, seconds__prefix=None, prompt__kv_cache_bytes=None))
    assert (without_cache.how, without_cache.flops, without_cache.seconds) == (
        WITHOUT_CACHE,
        Line(0, 10_000),
        Line(0, 0.5),
    )


def test_a_calibration_is_paid_before_the_first_query():
    _, with_cache, without_cache, _ = list_ways(rows(flops__prefix=8_560, flops__calibration=60))
    assert (with_cache.flops, without_cache.flops) == (Line(8_560, 1500), Line(60, 10_000))
    assert without_cache.seconds is None, "calibration and demonstrations were timed together"


def test_if_rows_keep_fewer_demonstrations_there_are_no_seconds_without_a_cache():
    _, with_cache, without_cache, _ = list_ways(rows(flops__prefix=50_000, prompt__shortened_test=3))
    assert with_cache.flops == Line(50_000, 1500)
    assert (without_cache.flops, without_cache.seconds) == (Line(0, 10_000), None)


def test_a_calibration_alone_makes_no_cache():
    _, without_cache, _ = list_ways(rows(prompt__kv_cache_bytes=None))
    assert (without_cache.how, without_cache.flops, without_cache.seconds) == (
        WITHOUT_CACHE,
        Line(8_500, 10_000),
        Line(2, 0.5),
    )


def test_missing_numbers_make_no_line():
    trained, with_cache, without_cache, _ = list_ways(
        rows(flops__inference_per_example=None, flops__inference_per_example_without_reuse=None)
    )
    assert trained.flops is not None
    assert (with_cache.flops, without_cache.flops) == (None, None)
    table = break_even_table(
        [record(), record(label="icl:k=4", parameters__trainable=0, flops__inference_per_example=None)]
    )
    assert table is None


def test_records_of_other_tasks_shots_or_backbones_are_not_compared():
    trained = prompted(label="ia3", task="dir:a/rte")
    assert break_even_table([trained, prompted(label="icl:k=4", task="dir:a/cb")]) is None
    assert break_even_table([trained, prompted(label="icl:k=4", task="dir:a/rte", shots=16)]) is None
    assert break_even_table([trained, prompted(label="icl:k=4", task="dir:a/rte", backbone="t5")]) is None
    assert break_even_table([trained, prompted(label="icl:k=4", task="dir:a/rte")]) is not None


def test_crossings_in_seconds_have_two_digits():
    assert Crossing("after", 27_512).rough == "after about 28,000 queries"
    assert Crossing("until", 99.6).rough == "up to about 99 queries"
    assert Crossing("after", 0.4).rough == "after about 1 query"
    records = [prompted(label="ia3", **NUMBERS), prompted(label="icl:k=4", **PROMPT)]
    table = break_even_table(records, "seconds")
    assert [cell.text for cell in table.rows[0][2:]] == ["after about 350", "after about 40"]
    assert "costs fewer seconds after about 350 queries than" in table.rows[0][2].title
    assert "Seconds vary" in table.note
    assert "vary" not in break_even_table(records).note
    page = document.compose(records).pages[0]
    (seconds,) = [picture for picture in panel_plots.pictures(page) if picture.name.endswith("break-even-seconds")]
    assert "with cache at about 350 queries" in seconds.alt


@pytest.mark.parametrize("status", ["ok", "planned"])
def test_measured_and_planned_records_give_the_same_table(status):
    records = [
        prompted(label="ia3", **NUMBERS),
        prompted(label="icl:k=4", **PROMPT),
        prompted(label="icl:k=0", **{**NUMBERS, "flops.train": 0, "storage.checkpoint_bytes": 0}),
    ]
    if status == "planned":
        records = [plan(measured, flops__train=measured.flops.train) for measured in records]
    table = break_even_table(records)
    assert [(column.head, column.under) for column in table.columns[2:]] == [
        ("icl:k=0", ""),
        ("icl:k=4", WITH_CACHE),
        ("icl:k=4", WITHOUT_CACHE),
    ]
    assert [cell.text for cell in table.rows[0]] == ["ia3", "900\u00a0kFLOP", "never", "after 1,783", "after 100"]
    console = Console(width=120, file=StringIO())
    console.print(as_rich(table))
    assert "after 1,783" in console.file.getvalue()


def test_names_stay_text_in_the_terminal():
    table = break_even_table([prompted(label="[red]x[/nope]"), prompted(label="icl:k=4")])
    console = Console(width=160, file=StringIO())
    console.print(as_rich(table))
    assert "[red]x[/nope]" in console.file.getvalue()


def test_the_report_has_the_ledger_if_there_are_trained_and_prompted_methods():
    both = document.compose([prompted(label="ia3"), prompted(label="icl:k=4")]).pages[0].ledgers
    (ledger,) = [ledger for ledger in both if ledger.tag == "break-even"]
    flops, seconds, stored = (table.caption for table in ledger.tables)
    assert flops.endswith("in FLOPs")
    assert seconds.endswith("in seconds")
    assert "bytes" in stored
    assert ledger.short.startswith("earliest: ia3 costs fewer FLOPs than icl:k=4 without cache after ")
    for alone in ("ia3", "icl:k=4"):
        assert not document.compose([prompted(label=alone)]).pages[0].ledgers


def test_seconds_that_do_not_compare_are_left_out():
    records = [prompted(label="ia3"), prompted(label="icl:k=4", environment__threads=2)]
    (ledger,) = document.compose(records).pages[0].ledgers
    assert [table.caption for table in ledger.tables if "seconds" in table.caption] == []


# Comparisons use the same runs.


def several(*prompts, trained=1):
    """Runs of a trained method and of a prompt, each on its own draw."""
    return {
        "a": [prompted(label="ia3", draw_seed=draw, **NUMBERS) for draw in range(trained)],
        "b": [
            prompted(label="icl:k=4", draw_seed=draw, **{**PROMPT, **changes}) for draw, changes in enumerate(prompts)
        ],
    }


def by_how(rows, measure):
    return {pair.prompted.how: pair.crossing for pair in compare_ways(list_ways(rows), measure)}


def test_seconds_of_some_runs_are_not_compared_with_all_runs():
    """Only one of three runs has seconds without a cache: in the others queries keep fewer demonstrations."""
    fewer = {"flops.prefix": 50_000, "prompt.shortened_test": 3}
    slow = {"seconds.prefix": 1000.0}
    rows = several(fewer, fewer, slow, trained=3)
    _, with_cache, without_cache = list_ways(rows)
    assert with_cache.seconds is not None
    assert without_cache.seconds is None
    assert set(by_how(rows, "seconds")) == {WITH_CACHE}
    assert set(by_how(rows, "flops")) == {WITH_CACHE, WITHOUT_CACHE}
    table = break_even_table([made for same_label in rows.values() for made in same_label], "seconds")
    assert WITHOUT_CACHE not in [column.under for column in table.columns]


@pytest.mark.parametrize(
    ("measure", "missing"),
    [
        ("seconds", {"examples_per_second.eval": None, "seconds.eval": None}),
        ("seconds", {"seconds.prefix": None}),
        ("flops", {"flops.inference_per_example": None}),
        ("flops", {"flops.prefix": None}),
    ],
)
def test_a_run_without_the_number_leaves_the_way_without_a_line(measure, missing):
    """Neither its start nor its slope is a median over the other runs alone."""
    rows = several({}, missing, trained=2)
    assert WITH_CACHE in by_how(several({}, {}, trained=2), measure)
    assert WITH_CACHE not in by_how(rows, measure)


def test_a_trained_run_without_the_number_leaves_its_way_without_a_line():
    rows = several({}, {}, trained=2)
    rows["a"][1] = prompted(label="ia3", draw_seed=1, **{**NUMBERS, "seconds.train": None})
    assert by_how(rows, "seconds") == {}
    assert set(by_how(rows, "flops")) == {WITH_CACHE, WITHOUT_CACHE}


def test_ways_meet_over_the_draws_that_both_ran_on():
    """The prompt's second draw, ten times as long, has no trained run."""
    long = {"flops.inference_per_example": 15_000.0, "flops.inference_per_example_without_reuse": 100_000.0}
    rows = several({}, long, trained=1)
    assert by_how(rows, "flops") == by_how(several({}, trained=1), "flops")
    (pair, _) = compare_ways(list_ways(rows), "flops")
    assert pair.cost == Line(900_000, 1000)
    apart = {"a": rows["a"], "b": rows["b"][1:]}
    assert compare_ways(list_ways(apart), "flops") == []


def test_a_prompt_that_keeps_nothing_reads_nothing():
    """FLOPs of reading that are null count as 0 if there are no tokens to read, else as missing."""
    nothing = {"flops.prefix": None, "seconds.prefix": None, "prompt.prefix_tokens": 0, "prompt.kv_cache_bytes": 0}
    nothing |= {"flops.inference_per_example_without_reuse": 1500.0}
    _, with_cache, without_cache = list_ways(several(nothing))
    assert with_cache.flops == without_cache.flops == Line(0, 1500)
    assert with_cache.seconds == without_cache.seconds == Line(0, 0.5)


def test_a_method_that_keeps_states_of_its_rows_is_no_prompt():
    """It trains no parameters, but pays for its states before the first query."""
    kept = prompted(label="knn", **{**NUMBERS, "flops.train": 5000, "training.steps": 0, "parameters.trainable": 0})
    assert break_even_table([prompted(label="ia3", **NUMBERS), kept]) is None
    prompt = prompted(label="icl:k=4", **PROMPT)
    table = break_even_table([kept, prompt])
    assert [column.head for column in table.columns[2:]] == ["icl:k=4", "icl:k=4"]
    (way,) = list_ways({"knn": [kept]})
    assert (way.trained, way.flops) == (True, Line(5000, 1000))


# Seconds per query that cannot be distinguished.


def timed_rows(ours, theirs, flops=(1000.0, 1500.0)):
    """A trained method and a zero-shot prompt with these rows per second in each run, and FLOPs per query."""
    numbers = {"flops.train": 900_000, "seconds.train": 90.0, "storage.checkpoint_bytes": 5000}
    free = {"flops.train": 0, "seconds.train": 0.0}

    def runs(label, rates, known, per_query):
        return [
            prompted(
                label=label,
                draw_seed=draw,
                **{**known, "examples_per_second.eval": rate, "flops.inference_per_example": per_query},
            )
            for draw, rate in enumerate(rates)
        ]

    return {"a": runs("ia3", ours, numbers, flops[0]), "b": runs("icl:k=0", theirs, free, flops[1])}


def seconds_crossing(*arguments, **more):
    (pair,) = compare_ways(list_ways(timed_rows(*arguments, **more)), "seconds")
    return pair.crossing


@pytest.mark.parametrize("runs", [1, 4])
def test_the_same_flops_per_query_have_no_break_even_in_seconds(runs):
    """However small or large the noise, it is not known to come from the method."""
    assert seconds_crossing([4.1] * runs, [4.0] * runs, flops=(1000.0, 1000.0)).kind == "unclear"


def test_a_difference_within_the_spread_between_runs_has_no_break_even():
    found = seconds_crossing([4.0, 5.0, 3.0, 4.4], [4.1, 3.5, 4.6, 4.0])
    assert (found.kind, found.queries) == ("unclear", None)
    assert "interval" in found.reason


def test_a_difference_beyond_the_spread_between_runs_has_a_break_even():
    assert seconds_crossing([4.0, 4.1, 3.9, 4.0], [2.0, 2.05, 1.95, 2.0]).kind == "after"


def test_fewer_flops_that_take_longer_in_every_run_never_pay_off():
    assert seconds_crossing([2.0, 2.05, 1.95, 2.0], [4.0, 4.1, 3.9, 4.0]).kind == "never"


@pytest.mark.parametrize(("flops", "kind"), [((1000.0, 1500.0), "after"), ((1500.0, 1000.0), "unclear")])
def test_one_run_of_each_needs_flops_that_confirm_it(flops, kind):
    assert seconds_crossing([4.0], [2.0], flops=flops).kind == kind


def test_a_cell_without_a_break_even_says_why():
    records = [made for runs in timed_rows([4.0], [4.01], flops=(1000.0, 1000.0)).values() for made in runs]
    table = break_even_table(records, "seconds")
    assert table.rows[0][2].text == "not distinguished"
    assert "same FLOPs" in table.rows[0][2].title
    assert "same FLOPs" in table.note
    page = document.compose(records).pages[0]
    (seconds,) = [picture for picture in panel_plots.pictures(page) if picture.name.endswith("break-even-seconds")]
    assert "Equal costs" not in seconds.alt
    assert "not distinguished" in seconds.note


def test_noise_alone_rarely_makes_a_break_even():
    """Of 200 comparisons of the same seconds per query, at most 8 % have one (nominally 5 %)."""
    generator, kinds = random.Random(0), []
    for _ in range(200):
        ours, theirs = ([generator.lognormvariate(1, 0.1) for _ in range(4)] for _ in range(2))
        kinds.append(seconds_crossing(ours, theirs).kind)
    assert len(kinds) - kinds.count("unclear") <= 16
