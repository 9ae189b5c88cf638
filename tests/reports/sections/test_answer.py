"""The answer of a report: the method to start with, and the best one within each budget."""

from __future__ import annotations

import pytest

from tests.reports.answered import world
from tests.reports.factory import BACKBONE, METHODS, failed
from tests.reports.factory import record as made
from tests.reports.sections.studies.test_streams import records as streamed
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.sections.answer import Answer, Budget
from tunefront.reports.sections.document import Page, Report, compose

ACCURACIES = {"full": 0.9, "houlsby:bottleneck=64": 0.88, "houlsby:bottleneck=8": 0.86, "ia3": 0.7, "features": 0.6}
TASKS = ("sst2", "trec", "subj", "mrpc", "cr")


def drawn(records, reference="full") -> Report:
    return compose(records, reference=reference, answers=AnswerFiles(records.places), places=records.places)


def page_of(folder, accuracies=ACCURACIES, **changes) -> Page:
    (page,) = drawn(world(folder, accuracies, TASKS, rows=400, **changes)).pages
    return page


def by_limit(answer: Answer) -> dict[float | None, Budget]:
    return {budget.limit: budget for budget in answer.budgets}


def test_each_budget_has_the_best_method_that_fits_it(tmp_path):
    page = page_of(tmp_path)
    assert page.panel.evidence is not None
    means = dict(zip(page.panel.evidence.labels, page.panel.evidence.estimate.means, strict=True))
    for limit, budget in by_limit(page.answer).items():
        most = 1e12 if limit is None else limit * BACKBONE
        fits = {e.label: means[e.label] for e in page.panel.entries if e.share is not None and e.share[0] <= most}
        assert budget.label == max(fits, key=lambda label: fits[label])
        assert METHODS[budget.label][0] <= (1.0 if limit is None else limit)


def test_a_budget_says_the_difference_and_its_interval(tmp_path):
    page = page_of(tmp_path)
    for budget in page.answer.budgets:
        found = page.panel.evidence.interval(budget.label)
        if found is None:  # the reference itself
            continue
        assert f"{found.difference:+.1f}".replace("-", "−") in budget.text
        assert f"{found.low:+.1f}, {found.high:+.1f}".replace("-", "−") in budget.text


def test_a_budget_whose_best_method_is_that_of_a_smaller_one_is_not_repeated(tmp_path):
    labels = [budget.label for budget in page_of(tmp_path).answer.budgets]
    assert len(labels) == len(set(labels))


def test_ties_within_a_budget_are_of_the_methods_that_fit_it(tmp_path):
    equal = dict.fromkeys(("full", "houlsby:bottleneck=8", "ia3"), 0.8)
    budgets = by_limit(page_of(tmp_path, equal, spread=0.02).answer)
    smallest = budgets[0.001]
    assert smallest.label == "ia3"
    assert "full" not in smallest.rest.partition("]")[2]


def test_the_method_to_start_with_is_tied_with_the_best_and_trains_least(tmp_path):
    page = page_of(tmp_path, {"full": 0.8, "houlsby:bottleneck=8": 0.8, "ia3": 0.55}, spread=0.01)
    assert page.answer.label == "houlsby:bottleneck=8"
    assert page.answer.label in page.panel.evidence.tied_labels
    assert drawn(world(tmp_path / "again", {"full": 0.8, "ia3": 0.5}, TASKS)).title.startswith("full is worth its cost")


def test_without_predictions_the_finding_is_the_answer_and_no_budget_is_named():
    report = compose([made(label=label, task=task) for label in ("full", "ia3") for task in ("sst2", "trec")])
    (page,) = report.pages
    assert page.answer.label is None
    assert page.answer.budgets == ()
    assert page.answer.sentences == (page.findings[0],)
    assert report.title.startswith(f"{best_of(page)} has the highest mean")
    assert "not known" in report.title
    (alone,) = compose([made()]).pages
    assert alone.answer.headline == f"full scores {100 * made().score:.1f} points"


def best_of(page: Page) -> str:
    return max(page.panel.entries, key=lambda entry: entry.average(page.panel.tasks) or 0.0).label


def test_a_report_without_a_score_or_a_comparison_says_what_it_is():
    assert compose([failed()]).title == "No cell has a score"
    studied = compose(streamed())
    assert studied.title == (studied.pages[0].answer.headline if studied.pages else studied.studies[0].title)


def test_several_panels_share_one_headline(tmp_path):
    records = [*world(tmp_path, ACCURACIES, TASKS[:2]), *world(tmp_path, ACCURACIES, TASKS[:2], backbone="other")]
    places = dict.fromkeys((record.key for record in records), str(tmp_path))
    report = compose(records, answers=AnswerFiles(places), places=places)
    assert len(report.pages) == 2
    (label,) = {page.answer.label for page in report.pages}
    assert label in report.title
    assert "both comparisons" in report.title


@pytest.mark.parametrize("draws", [(0,), (0, 1, 2)])
def test_the_answer_says_what_its_intervals_are_about(tmp_path, draws):
    answer = page_of(tmp_path, draws=draws).answer
    assert ("checkpoints" in answer.limits) == (draws == (0,))
    assert ("trained again" in answer.limits) == (draws != (0,))


def test_some_of_the_methods_have_the_evidence_of_a_panel_of_their_own(tmp_path):
    records = world(tmp_path, {"full": 0.85, "ia3": 0.84, "bitfit": 0.83}, TASKS, spread=0.02)
    (whole,) = drawn(records).pages
    few = type(records)([r for r in records if r.label != "full"], records.places)
    (alone,) = drawn(few).pages
    among, own = whole.panel.evidence.among(["ia3", "bitfit"]), alone.panel.evidence
    assert set(among.labels) == set(own.labels)
    order = [own.labels.index(label) for label in among.labels]
    assert among.estimate.means == pytest.approx(own.estimate.means[order])
    assert among.estimate.run == pytest.approx(own.estimate.of(order).run)
    assert among.tied_labels == tuple(label for label in among.labels if label in own.tied_labels)


COLLAPSED = {
    "collapse__collapsed": True,
    "collapse__one_answer": True,
    "collapse__answer": "yes",
    "collapse__answer_share": 1.0,
    "collapse__label_share": 0.5,
}


def with_collapsed(folder, accuracies, collapsed, **changes) -> Page:
    """A page on which the methods of `collapsed` always give one answer, whatever they score."""
    parts = [world(folder, accuracies, TASKS, rows=400, **changes)]
    parts.append(world(folder, collapsed, TASKS, rows=400, **COLLAPSED, **changes))
    records = type(parts[0])([record for part in parts for record in part], parts[0].places | parts[1].places)
    (page,) = drawn(records).pages
    return page


def test_a_method_that_collapsed_is_never_the_one_to_start_with(tmp_path):
    page = with_collapsed(tmp_path, {"full": 0.7, "lora": 0.68}, {"ia3": 0.95}, spread=0.003)
    assert page.panel.evidence.best == "ia3"
    assert page.answer.label in ("full", "lora")
    assert "ia3" not in page.answer.headline
    assert "did not collapse" in page.answer.why
    assert "ia3" not in [budget.label for budget in page.answer.budgets]


def test_the_reference_is_worth_its_cost_only_if_it_alone_is_at_the_top(tmp_path):
    alone = page_of(tmp_path / "alone", {"full": 0.9, "ia3": 0.6, "lora": 0.55}, spread=0.01)
    assert alone.panel.evidence.tied_labels == ("full",)
    assert "beyond chance" in alone.answer.headline
    tied = page_of(tmp_path / "tied", {"full": 0.8, "ia3": 0.8}, spread=0.01, parameters__trainable=None)
    assert len(tied.panel.evidence.tied_labels) == 2
    assert "beyond chance" not in tied.answer.headline


def test_equal_means_without_predictions_are_all_named():
    records = [made(label=label, scores__test={"accuracy": 0.8}) for label in ("full", "ia3", "lora")]
    title = compose(records).title
    assert all(label in title for label in ("full", "ia3", "lora"))


def test_comparisons_without_predictions_have_a_headline_too():
    records = [made(label=label, backbone=name) for label in ("full", "ia3") for name in ("minilm", "other")]
    assert compose(records).title.startswith("2 comparisons")


def test_more_data_is_about_the_tied_method_that_trains_least(tmp_path):
    page = page_of(tmp_path, {"full": 0.8, "houlsby:bottleneck=8": 0.795, "ia3": 0.79}, spread=0.02)
    known = page.panel.evidence
    assert set(known.tied_labels) >= {"full", "ia3"}
    widest = by_limit(page.answer).get(None)
    if widest is not None and "would distinguish it from" in widest.rest:
        assert widest.rest.rstrip(".").endswith("from ia3")


def test_what_few_runs_cannot_distinguish_is_no_answer_if_it_is_much_lower(tmp_path):
    page = page_of(tmp_path, {"full": 0.82, "lora": 0.818, "features": 0.77}, spread=0.06, draws=(0, 1))
    known = page.panel.evidence
    means = dict(zip(known.labels, known.estimate.means, strict=True))
    near = [label for label in known.tied_labels if means[label] >= means[known.best] - 1]
    costs = dict(zip(known.labels, known.costs, strict=True))
    assert page.answer.label == min(near, key=lambda label: costs[label])
    assert means[page.answer.label] >= means[known.best] - 1
