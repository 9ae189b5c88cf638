"""Train or prompt: where cumulative costs meet, exactly; and which records are set against which."""

from __future__ import annotations

import math
from io import StringIO

import pytest
from rich.console import Console

from tests.reports.factory import plan, record
from tests.reports.prompted import prompted
from tunefront.reports.compare.break_even import Crossing, Line, crossing
from tunefront.reports.compare.query_costs import WITH_CACHE, WITHOUT_CACHE, compare_ways, list_ways
from tunefront.reports.costs.train_or_prompt import break_even_table
from tunefront.reports.formats.terminal import as_rich
from tunefront.reports.plots import of_page
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
def test_costs_meet_where_the_closed_formula_says(trained, prompt, expected):
    assert crossing(trained, prompt) == expected


def test_training_costs_less_on_the_right_side_of_the_crossing():
    one, other = Line(5.3e12, 2.2e8), Line(4.1e9, 1.7e9)
    found = crossing(one, other)
    assert found.queries == pytest.approx((5.3e12 - 4.1e9) / (1.7e9 - 2.2e8))
    before, after = math.floor(found.queries), math.ceil(found.queries)
    assert one.at(before) > other.at(before)
    assert one.at(after) < other.at(after)


def test_a_crossing_is_said_in_words():
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


def test_lines_are_what_the_records_say():
    trained, kept, anew, zero = list_ways(rows())
    assert (trained.label, trained.flops, trained.seconds) == ("a", Line(900_000, 1000), Line(90, 0.25))
    assert (kept.how, kept.flops, kept.seconds) == (WITH_CACHE, Line(8_500, 1500), Line(2, 0.5))
    assert (anew.how, anew.flops, anew.seconds) == (WITHOUT_CACHE, Line(0, 10_000), Line(0, 2.5))
    assert (zero.how, zero.flops, zero.seconds) == ("", Line(0, 1000), Line(0, 0.25))
    assert [way.kept_bytes for way in (trained, kept, anew, zero)] == [5000, 64_400, 400, 0]


def test_every_trained_method_meets_every_prompt():
    found = {
        (pair.prompted.label, pair.prompted.how): pair.crossing for pair in compare_ways(list_ways(rows()), "flops")
    }
    assert found == {
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
        ("c", ""): Crossing("never"),
    }


def test_where_nothing_can_be_kept_what_was_timed_read_everything_anew():
    _, anew, _ = list_ways(rows(flops__prefix=None, seconds__prefix=None, prompt__kv_cache_bytes=None))
    assert (anew.how, anew.flops, anew.seconds) == (WITHOUT_CACHE, Line(0, 10_000), Line(0, 0.5))


def test_a_calibrated_prompt_pays_for_that_before_its_first_query():
    _, kept, anew, _ = list_ways(rows(flops__prefix=8_560, flops__calibration=60))
    assert (kept.flops, anew.flops) == (Line(8_560, 1500), Line(60, 10_000))
    assert anew.seconds is None, "seconds of the two were measured together"


def test_where_rows_keep_fewer_demonstrations_reading_anew_has_no_seconds():
    _, kept, anew, _ = list_ways(rows(flops__prefix=50_000, prompt__shortened_test=3))
    assert kept.flops == Line(50_000, 1500)
    assert (anew.flops, anew.seconds) == (Line(0, 10_000), None)


def test_calibrating_alone_keeps_no_prompt():
    _, anew, _ = list_ways(rows(prompt__kv_cache_bytes=None))
    assert (anew.how, anew.flops, anew.seconds) == (WITHOUT_CACHE, Line(8_500, 10_000), Line(2, 0.5))


def test_what_is_missing_makes_no_line():
    trained, kept, anew, _ = list_ways(
        rows(flops__inference_per_example=None, flops__inference_per_example_without_reuse=None)
    )
    assert trained.flops is not None
    assert (kept.flops, anew.flops) == (None, None)
    table = break_even_table(
        [record(), record(label="icl:k=4", parameters__trainable=0, flops__inference_per_example=None)]
    )
    assert table is None


def test_records_of_other_tasks_shots_or_backbones_are_not_set_against_each_other():
    one = prompted(label="ia3", task="dir:a/rte")
    assert break_even_table([one, prompted(label="icl:k=4", task="dir:a/cb")]) is None
    assert break_even_table([one, prompted(label="icl:k=4", task="dir:a/rte", shots=16)]) is None
    assert break_even_table([one, prompted(label="icl:k=4", task="dir:a/rte", backbone="t5")]) is None
    assert break_even_table([one, prompted(label="icl:k=4", task="dir:a/rte")]) is not None


def test_crossings_in_seconds_have_two_digits():
    assert Crossing("after", 27_512).rough == "after about 28,000 queries"
    assert Crossing("until", 99.6).rough == "up to about 99 queries"
    assert Crossing("after", 0.4).rough == "after about 1 query"
    records = [prompted(label="ia3", **NUMBERS), prompted(label="icl:k=4", **PROMPT)]
    table = break_even_table(records, "seconds")
    assert [cell.text for cell in table.rows[0][2:]] == ["after about 350", "after about 40"]
    assert "costs fewer seconds after about 350 queries than" in table.rows[0][2].title
    assert "shared machine vary" in table.note
    assert "vary" not in break_even_table(records).note
    page = document.compose(records).pages[0]
    (seconds,) = [one for one in of_page.pictures(page) if one.name.endswith("break-even-seconds")]
    assert "prefix kept at about 350 queries" in seconds.alt


@pytest.mark.parametrize("status", ["ok", "planned"])
def test_the_table_reads_the_same_of_measured_and_of_planned_records(status):
    records = [
        prompted(label="ia3", **NUMBERS),
        prompted(label="icl:k=4", **PROMPT),
        prompted(label="icl:k=0", **{**NUMBERS, "flops.train": 0, "storage.checkpoint_bytes": 0}),
    ]
    if status == "planned":
        records = [plan(one, flops__train=one.flops.train) for one in records]
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


def test_the_report_has_the_ledger_where_something_was_trained_and_something_prompted():
    both = document.compose([prompted(label="ia3"), prompted(label="icl:k=4")]).pages[0].ledgers
    (ledger,) = [ledger for ledger in both if ledger.tag == "break-even"]
    captions = [table.caption for table in ledger.tables]
    assert captions == [
        "In FLOPs, training pays after so many queries",
        "In seconds, training pays after so many queries",
        "What is kept, trained and prompted",
    ]
    assert ledger.short.startswith("ia3 has cost fewer FLOPs than icl:k=4, read anew after ")
    for alone in ("ia3", "icl:k=4"):
        assert not document.compose([prompted(label=alone)]).pages[0].ledgers


def test_seconds_that_do_not_compare_are_left_out():
    records = [prompted(label="ia3"), prompted(label="icl:k=4", environment__threads=2)]
    (ledger,) = document.compose(records).pages[0].ledgers
    assert [table.caption for table in ledger.tables if "seconds" in table.caption] == []


# What is compared comes from the same runs.


def several(*prompts, trained=1):
    """Of a trained method and of a prompt so many runs, each on a draw of its own."""
    return {
        "a": [prompted(label="ia3", draw_seed=draw, **NUMBERS) for draw in range(trained)],
        "b": [
            prompted(label="icl:k=4", draw_seed=draw, **{**PROMPT, **changes}) for draw, changes in enumerate(prompts)
        ],
    }


def by_how(rows, measure):
    return {pair.prompted.how: pair.crossing for pair in compare_ways(list_ways(rows), measure)}


def test_seconds_of_the_runs_that_have_them_are_not_set_against_all_runs():
    """Reading anew lasts as long as reading once only where every query keeps all; of one run in three it does."""
    fewer = {"flops.prefix": 50_000, "prompt.shortened_test": 3}
    slow = {"seconds.prefix": 1000.0}
    rows = several(fewer, fewer, slow, trained=3)
    _, kept, anew = list_ways(rows)
    assert kept.seconds is not None
    assert anew.seconds is None
    assert set(by_how(rows, "seconds")) == {WITH_CACHE}
    assert set(by_how(rows, "flops")) == {WITH_CACHE, WITHOUT_CACHE}
    table = break_even_table([one for alike in rows.values() for one in alike], "seconds")
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
    """The prompt's second draw, ten times as long, has no trained run beside it."""
    long = {"flops.inference_per_example": 15_000.0, "flops.inference_per_example_without_reuse": 100_000.0}
    rows = several({}, long, trained=1)
    assert by_how(rows, "flops") == by_how(several({}, trained=1), "flops")
    (pair, _) = compare_ways(list_ways(rows), "flops")
    assert pair.cost == Line(900_000, 1000)
    apart = {"a": rows["a"], "b": rows["b"][1:]}
    assert compare_ways(list_ways(apart), "flops") == []


def test_a_prompt_that_keeps_nothing_reads_nothing():
    """Null FLOPs of reading no tokens are none; of tokens that were read they are missing."""
    nothing = {"flops.prefix": None, "seconds.prefix": None, "prompt.prefix_tokens": 0, "prompt.kv_cache_bytes": 0}
    nothing |= {"flops.inference_per_example_without_reuse": 1500.0}
    _, kept, anew = list_ways(several(nothing))
    assert kept.flops == anew.flops == Line(0, 1500)
    assert kept.seconds == anew.seconds == Line(0, 0.5)
