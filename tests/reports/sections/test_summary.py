"""The summary in the terminal: what it shows at which width, and what it warns of."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from tests.reports.answered import world
from tests.reports.factory import grid, record
from tests.reports.prompted import everything, prompted
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.names import short_names
from tunefront.reports.sections.columns import fold
from tunefront.reports.sections.summary import summary_table


def printed(records, width=80, **changes):
    console = Console(width=width, file=StringIO())
    console.print(summary_table(records, **changes))
    return console.file.getvalue()


def lines(records, width=80, **changes):
    return printed(records, width, **changes).splitlines()


def row(records, label, width=80, **changes):
    (line,) = [line for line in lines(records, width, **changes)[2:] if re.match(rf"{re.escape(label)}  ", line)]
    return line


def known(tmp_path, **changes):
    """Records with predictions, and what reads these."""
    records = world(tmp_path, {"full": 0.9, "ia3": 0.88, "features": 0.6}, draws=(0, 1, 2), **changes)
    return records, AnswerFiles(records.places)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 140])
def test_no_line_is_longer_than_the_terminal(width):
    for records in (grid(), everything()):
        assert max(map(len, lines(records, width))) <= width


@pytest.mark.parametrize("width", [60, 80, 120, 140])
def test_labels_stay_whole_and_what_is_left_out_is_named(width):
    text = lines(grid(), width)
    for label in ("houlsby:bottleneck=64", "top_layers:n=2", "full"):
        assert any(line.startswith(label) for line in text)
    head = text[1].split()
    assert head[:4] == ["method", "mean", "against", "full"]
    left_out = "the scores on the 4 tasks" in " ".join(" ".join(text).split())
    assert left_out == ("mrpc" not in head) == (width <= 80)


def test_the_columns_come_in_the_order_in_which_they_are_needed():
    records = [prompted(label=label, task=task) for label in ("full", "icl:k=4") for task in ("a", "b")]
    head = re.split(r"  +", lines(records, 140)[1].strip())
    assert head[:3] == ["method", "mean", "against full"]
    assert head[3:] == ["trained", "parameters", "training", "time", "per query", "a", "b"]


def test_the_best_mean_comes_first_and_a_method_without_a_mean_last():
    scores = {"full": 0.7, "ia3": 0.9, "features": 0.5}
    records = [record(label=label, scores__test={"accuracy": score}) for label, score in scores.items()]
    records += [record(label=label, task="trec") for label in scores]
    records += [record(label="bitfit", scores__test={"accuracy": 0.99})]
    text = lines(records)
    order = [line.split()[0] for line in text[2:6]]
    assert order == ["ia3", "full", "features", "bitfit"]


def test_a_difference_has_its_interval_and_means_that_cannot_be_told_apart_are_marked(tmp_path):
    records, predictions = known(tmp_path)
    near, far = (row(records, label, predictions=predictions) for label in ("ia3", "features"))
    assert re.search(r"\d\d\.\d\* +[−+]?\d\.\d \[ *[−+]?\d+\.\d, +[−+]?\d+\.\d\]", near)
    assert "*" not in far
    assert near.index("[") == far.index("[")
    assert near.index("]") == far.index("]")


def test_the_difference_is_that_of_the_means_that_are_shown(tmp_path):
    records, predictions = known(tmp_path)
    means = [
        float(re.findall(r"\d+\.\d", row(records, label, predictions=predictions))[0]) for label in ("full", "features")
    ]
    shown = float(row(records, "features", predictions=predictions).split()[2].replace("−", "-"))
    assert means[1] - means[0] == pytest.approx(shown, abs=0.11)


def test_a_narrow_terminal_drops_the_intervals_before_it_breaks_a_number(tmp_path):
    records, predictions = known(tmp_path)
    text = lines(records, 40, predictions=predictions)
    assert "[" not in "".join(text[2:6])
    assert "the intervals" in " ".join(text)


def test_the_main_finding_is_printed_below_the_table(tmp_path):
    records, predictions = known(tmp_path)
    assert any("has the highest mean" in line for line in lines(records, predictions=predictions))


def test_two_runs_of_one_task_are_too_few_and_three_are_not(tmp_path):
    few, many = (world(tmp_path / str(runs), {"full": 0.9, "ia3": 0.8}, ["sst2"], range(runs)) for runs in (2, 3))
    assert any("too few" in text for text in summary_table(few, predictions=AnswerFiles(few.places)).warnings)
    assert not any("too few" in text for text in summary_table(many, predictions=AnswerFiles(many.places)).warnings)


def test_one_run_of_every_method_is_warned_of_without_predictions_too():
    assert any("too few" in text for text in summary_table(grid(seeds=(0,))).warnings)
    assert not any("too few" in text for text in summary_table(grid(seeds=(0, 1))).warnings)
    assert not summary_table([record()]).warnings


def test_methods_without_an_interval_are_named_with_the_reason(tmp_path):
    records, predictions = known(tmp_path)
    for made in records:
        if made.label == "ia3":
            (tmp_path / "predictions" / f"{made.key}.parquet").unlink()
    (text,) = [text for text in summary_table(records, predictions=predictions).warnings if "interval" in text]
    assert "ia3" in text
    assert "features" not in text
    assert "no predictions" in text


def test_where_nothing_is_known_of_how_sure_differences_are_that_is_said():
    (text,) = [text for text in summary_table(grid(["full", "ia3"])).warnings if "How sure" in text]
    assert "predictions" in text


def test_what_matters_is_a_warning_and_no_note():
    uneven = [*grid(["full"], seeds=(0, 1)), *grid(["ia3"], seeds=(0,), environment__threads=2)]
    found = summary_table(uneven).warnings
    assert any("number of runs differs" in text for text in found)
    assert any("threads differs" in text for text in found)
    assert "threads" not in printed(uneven)


def test_the_denominator_of_the_trained_share_is_named():
    assert "of the backbone's 22,713,216 parameters" in printed(grid(["full"]))
    assert "of its backbone's parameters" in printed([record(), record(shots=16, parameters__backbone=10)])


def test_a_very_long_label_is_folded_not_lost():
    assert "end" in printed([record(label="user:" + "x" * 200 + "end")], 60)


def test_a_long_label_is_folded_before_a_cost_is_left_out():
    text = lines([record(label="lora:rank=4,alpha=1.0,sites=every,std=0.01,norms=true", task="sst2")])
    assert text[1].endswith("time")
    assert "norms=true" in "".join(text)


@pytest.mark.parametrize("most", [16, 20, 24])
def test_a_label_is_never_folded_inside_a_number(most):
    label = "lora:rank=1234,alpha=0.00125,std=1e-05 (learning_rate=0.0003)"
    folded = fold(label, most)
    assert max(map(len, folded)) <= most
    assert {"rank=1234,", "alpha=0.00125,"} <= {word for line in folded for word in re.split(r"[ :]", line)}


@pytest.mark.parametrize("width", [80, 120])
def test_three_backbones_share_the_columns_and_each_has_its_title(width):
    text = lines(everything(), width)
    assert [line.split(",")[0] for line in text if ", accuracy: " in line] == ["gpt", "minilm", "t5"]
    assert sum(line.startswith("method ") for line in text) == 1


def test_a_panel_without_the_reference_has_no_differences_and_that_is_said():
    records = [*(prompted(label=label) for label in ("full", "ia3")), prompted(label="ia3", backbone="t5")]
    records += [prompted(label="icl:k=4", backbone="t5")]
    text = printed(records, 120)
    assert "without a score of full there is no difference to it" in text
    assert re.search(r"t5, .*\n(ia3|icl:k=4) +\d\d\.\d +[\d.]+\u00a0%", text)


def test_demonstrations_have_the_cost_of_a_query():
    assert "per query" not in printed(grid(["full"], tasks=["sst2"]), 120)
    records = [prompted(label=label) for label in ("full", "icl:k=4")]
    head, *rows = lines(records, 120)[1:4]
    place = head.index("per query") + len("per query")
    assert [line[:place].endswith("220\u00a0GFLOP") for line in rows] == [True, True]


def test_scores_of_different_metrics_have_no_common_mean():
    accuracy = [record(label=label, task=task) for label in ("full", "ia3") for task in ("sst2", "trec")]
    similar = {"scores.headline": "pearson", "data.task_kind": "regression"}
    pearson = [record(label=label, task="stsb", **similar, scores__test={"pearson": 0.8}) for label in ("full", "ia3")]
    text = printed([*accuracy, *pearson], 120)
    assert ", accuracy: sst2, trec" in text
    assert ", pearson: stsb" in text
    assert "no average" in text


def test_the_task_of_a_panel_has_no_second_column():
    records = [
        record(label=label, task=task, shots=shots) for label in ("full", "ia3") for task, shots in (("a", 1), ("b", 2))
    ]
    assert lines(records, 140)[1].split()[:2] == ["method", "score"]
    assert not {"a", "b"} & set(lines(records, 140)[1].split())


def test_tasks_have_short_names_whatever_they_are_called():
    tasks = [
        "dir:/very/long/path/to/subj/",
        "hub:nyu-mll/glue/sst2",
        "docstrings/kind",
        "file:/a/b/tickets.csv?label=team",
    ]
    assert list(short_names(tasks).values()) == ["subj", "kind", "tickets.csv", "sst2"]
    text = lines([record(task=task) for task in tasks], 100)
    assert text[0].endswith(": kind, sst2, subj, tickets.csv")
    assert max(map(len, text)) <= 100


def test_many_tasks_are_counted_where_their_names_have_no_room():
    tasks = [f"dir:data/a_task_with_a_long_name_{number}" for number in range(24)]
    assert lines([record(task=task) for task in tasks])[0].endswith("accuracy: 24 tasks")


def test_without_a_score_the_summary_says_so():
    assert printed([record(status="skipped", reason="x")]) == "no cell has a score yet\n"
