"""Vectorised metrics against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from tunefront.reports.compare.uncertainty.metrics import METRICS, f1, macro_f1, matthews, pearson, spearman


@pytest.fixture
def classes():
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=(6, 25))
    predictions = np.where(generator.random((6, 25)) < 0.6, labels, generator.integers(4, size=(6, 25)))
    predictions[0], labels[1] = 2, 1  # constant predictions, and labels of one class
    return predictions, labels


def of_rows(metric, predictions, labels):
    return [metric(expected, predicted) for predicted, expected in zip(predictions, labels, strict=True)]


def test_macro_f1_is_that_of_scikit_learn(classes):
    expected = of_rows(lambda *both: reference.f1_score(*both, average="macro", zero_division=0), *classes)
    assert macro_f1(*classes) == pytest.approx(expected)


def test_f1_of_given_classes_is_that_of_scikit_learn(classes):
    found = f1(1, 3)(*classes)
    mean = lambda *both: reference.f1_score(*both, labels=[1, 3], average="macro", zero_division=0)  # noqa: E731
    assert found == pytest.approx(of_rows(mean, *classes))


def test_matthews_is_that_of_scikit_learn(classes):
    assert matthews(*classes) == pytest.approx(of_rows(reference.matthews_corrcoef, *classes))


def test_correlations_are_those_of_scipy():
    generator = np.random.default_rng(0)
    labels = generator.integers(6, size=(4, 30)).astype(float)  # with ties
    predictions = labels + 3 * generator.normal(size=(4, 30))
    assert pearson(predictions, labels) == pytest.approx(of_rows(lambda *b: stats.pearsonr(*b)[0], predictions, labels))
    assert spearman(predictions, labels) == pytest.approx(
        of_rows(lambda *b: stats.spearmanr(*b)[0], predictions, labels)
    )


def test_a_constant_prediction_has_no_correlation():
    assert np.isnan(pearson(np.ones((1, 5)), np.arange(5.0)[None])).all()


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "matthews"])
def test_classes_may_have_any_names(name, classes):
    names = np.array(["no", "yes", "perhaps", "never"])
    assert METRICS[name](names[classes[0]], names[classes[1]]) == pytest.approx(METRICS[name](*classes))
