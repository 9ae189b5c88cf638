"""Every metric against scikit-learn or scipy, and what `evaluate` must not do behind it."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from tunefront.bench.data.metric_classes import CLASSES, InMemoryMetric
from tunefront.bench.data.metrics import METRICS, default_metrics, known_metrics, metric_mistakes, score
from tunefront.bench.data.task import MetricSpec, Row, Task

CLASSIFYING = {
    "accuracy": sklearn.metrics.accuracy_score,
    "macro_f1": lambda y, p: sklearn.metrics.f1_score(y, p, average="macro", zero_division=0),
    "matthews": sklearn.metrics.matthews_corrcoef,
}
CORRELATING = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}


def task(*metrics: MetricSpec, kind="classification", names=("a", "b", "c")) -> Task:
    rows = [Row(str(i), {"text": f"row {i}"}, i % 3) for i in range(6)]
    return Task("toy", kind, {"train": rows, "test": rows}, ("text",), names, metrics)


@pytest.mark.parametrize("name", CLASSIFYING)
@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (2, 2), (50, 2), (200, 5), (300, 77)])
def test_classification_metrics_equal_scikit_learn(name, rows, classes):
    random = np.random.default_rng(rows + classes)
    for _ in range(5):
        labels, predictions = random.integers(classes, size=rows), random.integers(classes, size=rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = CLASSIFYING[name](labels, predictions)
        assert CLASSES[name]().compute(predictions=predictions, references=labels)[name] == pytest.approx(expected)


@pytest.mark.parametrize("name", CLASSIFYING)
@pytest.mark.parametrize(("labels", "predictions"), [([0, 1, 2], [1, 1, 1]), ([1, 1], [1, 1]), ([0, 0], [1, 1])])
def test_classification_metrics_equal_scikit_learn_where_one_side_is_constant(name, labels, predictions):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CLASSIFYING[name](labels, predictions)
    assert CLASSES[name]().compute(predictions=predictions, references=labels)[name] == pytest.approx(expected)


@pytest.mark.parametrize("wanted", [[0], [1, 2], [4, 0, 3], [9]])
def test_f1_of_given_labels_equals_scikit_learn(wanted):
    random = np.random.default_rng(7)
    labels, predictions = random.integers(5, size=90), random.integers(5, size=90)
    expected = sklearn.metrics.f1_score(labels, predictions, labels=wanted, average="macro", zero_division=0)
    actual = CLASSES["f1"]().compute(predictions=predictions, references=labels, labels=wanted)["f1"]
    assert actual == pytest.approx(expected)


@pytest.mark.parametrize("name", CORRELATING)
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_correlations_equal_scipy(name, scale):
    random = np.random.default_rng(3)
    for rows in (2, 3, 40, 500):
        labels = random.normal(size=rows) * scale
        predictions = labels * random.normal() + random.normal(size=rows) * scale
        expected = CORRELATING[name](labels, predictions).statistic
        assert CLASSES[name]().compute(predictions=predictions, references=labels)[name] == pytest.approx(expected)


def test_spearman_gives_ties_their_mean_rank_as_scipy_does():
    labels, predictions = [0.0, 1.0, 1.0, 2.0, 5.0, 5.0], [3.0, 3.0, 1.0, 4.0, 4.0, 9.0]
    expected = scipy.stats.spearmanr(labels, predictions).statistic
    assert CLASSES["spearman"]().compute(predictions=predictions, references=labels)["spearman"] == pytest.approx(
        expected
    )


@pytest.mark.parametrize("name", CORRELATING)
@pytest.mark.parametrize("predictions", [[0.1, 0.1, 0.1], [float("nan"), 1.0, 2.0], [float("inf"), 1.0, 2.0]])
def test_a_correlation_that_is_not_defined_is_none_without_a_warning(name, predictions):
    regression = task(MetricSpec(name), kind="regression", names=())
    assert score(regression, predictions, [1.0, 2.0, 3.0]) == {name: None}


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"f1"}))
def test_nothing_to_score_gives_none(name):
    assert CLASSES[name]().compute(predictions=[], references=[]) == {name: None}


def test_scores_stand_under_their_titles_with_the_headline_first():
    scored = task(MetricSpec("f1", ("c", "a")), MetricSpec("accuracy"))
    predictions = [0, 1, 2, 0, 0, 0]
    labels = [row.label for row in scored.splits["test"]]
    expected = sklearn.metrics.f1_score(labels, predictions, labels=[2, 0], average="macro")
    assert score(scored, predictions) == {"f1[c,a]": pytest.approx(expected), "accuracy": pytest.approx(4 / 6)}
    assert next(iter(score(scored, predictions))) == scored.headline


def test_predictions_and_labels_of_different_length_are_refused():
    with pytest.raises(ValueError, match="2 predictions for 6 references"):
        score(task(MetricSpec("accuracy")), [0, 1])


def test_batches_gathered_by_evaluate_give_the_same_score():
    metric = CLASSES["accuracy"]()
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    metric.add_batch(predictions=[1], references=[1])
    assert metric.compute() == {"accuracy": pytest.approx(2 / 3)}


def test_metrics_write_no_file_so_that_concurrent_processes_share_nothing(tmp_path: Path):
    metric = CLASSES["pearson"](cache_dir=str(tmp_path / "metrics"))
    assert metric.compute(predictions=[0.0, 1.0], references=[0.0, 2.0]) == {"pearson": pytest.approx(1.0)}
    metric.add_batch(predictions=[0.0, 1.0], references=[0.0, 2.0])
    assert metric.compute() == {"pearson": pytest.approx(1.0)}
    assert not list(tmp_path.iterdir())


def test_a_metric_without_its_formula_cannot_be_made():
    class Empty(InMemoryMetric):
        title = "empty"

    with pytest.raises(TypeError, match=r"abstract method '?value"):
        Empty()


def test_every_listed_metric_has_a_class_and_the_other_way_round():
    assert known_metrics() == sorted(CLASSES)


@pytest.mark.parametrize(
    ("metric", "kind", "says"),
    [
        (MetricSpec("acuracy"), "classification", "did you mean 'accuracy'"),
        (MetricSpec("pearson"), "classification", "does not suit a classification task"),
        (MetricSpec("accuracy"), "regression", "use pearson or spearman"),
        (MetricSpec("f1"), "classification", "needs the labels"),
        (MetricSpec("f1", ()), "classification", "needs the labels"),
        (MetricSpec("accuracy", ("a",)), "classification", "takes no labels"),
        (MetricSpec("f1", ("positiv",)), "classification", "did you mean 'positive'"),
    ],
)
def test_a_metric_that_does_not_fit_is_explained(metric, kind, says):
    assert says in " ".join(metric_mistakes([metric], kind, ["positive", "negative"]))


@pytest.mark.parametrize("kind", ["classification", "regression", "multiple choice"])
def test_default_metrics_fit_their_kind(kind):
    assert default_metrics(kind)
    assert not metric_mistakes(default_metrics(kind), kind, [])
