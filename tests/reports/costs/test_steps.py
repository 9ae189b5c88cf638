"""Seconds of a training step: what is said of a method agrees with the table next to it, whatever the records."""

from __future__ import annotations

import random
import re

import pytest

from tests.reports.factory import record
from tunefront.bench.records import Spread
from tunefront.reports.costs.step_ratios import NAMES, PARTS, ratios, why_not_faster
from tunefront.reports.sections import document


def timed(seconds, width=0.1, count=71, **changes):
    """A record whose parts of a step have these medians, and quartiles this share to either side."""
    steps = {
        part: Spread(median=value, low=(1 - width) * value, high=(1 + width) * value, count=count)
        for part, value in zip(PARTS, seconds, strict=True)
    }
    return record(seconds__steps=steps, **changes)


def panel_of(records):
    return document.compose(records).pages[0].panel


def ledger_of(records):
    (found,) = [ledger for ledger in document.compose(records).pages[0].ledgers if ledger.tag == "time"]
    return found


def sentence(entry, reference):
    return why_not_faster(entry, reference, ratios(entry, reference))


def verdicts(text):
    """Part -> faster, slower or not distinguished, as the sentence says."""
    found, verdict = {}, None
    for word in re.findall(
        r"faster in|slower in|not distinguished|data|forward pass|backward pass|optimiser step", text
    ):
        if word in NAMES.values():
            found[next(part for part, name in NAMES.items() if name == word)] = verdict
        else:
            verdict = word
    return found


def test_a_backward_pass_of_forty_percent_less_is_said_to_be_faster_where_quartiles_overlap():
    """The quartiles of 71 steps of texts of any length always overlap; their medians are known much better."""
    records = [
        timed((0.001, 0.1, 0.2, 0.02), 0.35),
        timed((0.001, 0.1, 0.12, 0.001), 0.35, label="ia3"),
    ]
    full, ia3 = panel_of(records).entries
    assert 1.35 * 0.12 > 0.65 * 0.2
    assert verdicts(sentence(ia3, full)) == {
        "backward": "faster in",
        "optimizer": "faster in",
        "forward": "not distinguished",
    }


def bound(text):
    """The end of an interval as shown."""
    return {">10,000": 9e99, "<0.00001": 0.0}[text] if text[0] in "<>" else float(text)


def random_records(generator):
    """Two methods and full, on one to three tasks with one to four runs, some of them missing."""
    records = []
    speeds = {label: [generator.uniform(0.3, 1.6) for _ in PARTS] for label in ("ia3", "bitfit")}
    speeds["full"] = [1.0] * len(PARTS)
    noise, width = generator.choice([0.0, 0.02, 0.2, 1.0]), generator.choice([0.0, 0.05, 0.5])
    for task in ("sst2", "trec", "subj")[: generator.randint(1, 3)]:
        length = generator.uniform(0.2, 5)
        for seed in range(generator.randint(1, 4)):
            for label, speed in speeds.items():
                base = (0.001, 0.1, 0.2, generator.choice([0.02, 1e-5]))
                seconds = [
                    b * s * length * generator.lognormvariate(0, noise) for b, s in zip(base, speed, strict=True)
                ]
                if label == "full" or generator.random() < 0.9:
                    count = generator.choice([1, 2, 71])
                    records.append(timed(seconds, width, count, label=label, task=task, seed=seed))
    return records


@pytest.mark.parametrize("seed", range(60))
def test_the_sentence_agrees_with_the_table_in_random_stores(seed):
    records = random_records(random.Random(seed))
    ledger = ledger_of(records)
    sentences = {label: text for text in ledger.text for label in ("ia3", "bitfit") if f"ull, {label} is" in text}
    if len(ledger.tables) == 1:
        assert not sentences
        return
    columns = dict(zip(PARTS, range(1, 5), strict=True))
    for row in ledger.tables[1].rows:
        for part, verdict in verdicts(sentences.get(row[0].text, "")).items():
            cell = row[columns[part]]
            low, high = map(bound, cell.minor.strip("()").split("–")) if cell.minor else (0.0, 9e99)
            value = float(cell.text.removeprefix("× "))
            assert low <= value <= high
            shown = "faster in" if high <= 1 else "slower in" if low >= 1 else "not distinguished"
            assert verdict == shown or 1 in (low, high), "1.00 may be a rounded bound"
            assert cell.text in sentences[row[0].text]


def test_two_runs_of_the_same_work_are_rarely_told_apart():
    """Of 400 comparisons of steps that do not differ, at most 8 % are called faster or slower (nominally 5 %)."""
    generator, called = random.Random(0), 0
    for _ in range(100):
        records = [
            timed([generator.lognormvariate(-2, 0.1) for _ in PARTS], label=label, task=task, seed=seed)
            for label in ("full", "ia3")
            for task in ("sst2", "trec")
            for seed in (0, 1, 2)
        ]
        full, ia3 = panel_of(records).entries
        called += sum(found.smaller or found.larger for part, found in ratios(ia3, full).items() if part in PARTS)
    assert called <= 32


def test_ends_of_an_interval_are_never_many_digits():
    """Two runs whose ratios differ by a factor of 1,000 have an interval up to 1e18."""
    records = [timed((0.001, 0.1, 0.2, 0.05), seed=0), timed((0.001, 0.1, 0.2, 0.05), seed=1)]
    records += [
        timed((0.001, 0.1, 200.0, 0.05), seed=0, label="ia3"),
        timed((0.001, 0.1, 0.2, 0.05), seed=1, label="ia3"),
    ]
    (row,) = ledger_of(records).tables[1].rows
    assert row[3].minor == "(<0.00001–>10,000)"


def test_a_single_value_tells_nothing_apart():
    records = [timed((0.001, 0.1, 0.2, 0.05), count=1), timed((0.001, 0.05, 0.1, 0.01), count=1, label="ia3")]
    full, ia3 = panel_of(records).entries
    assert set(verdicts(sentence(ia3, full)).values()) == {"not distinguished"}


def test_equal_ratios_show_a_clock_and_no_noise():
    records = [timed((0.001, 0.1, 1.0, 0.05), seed=seed) for seed in range(3)]
    records += [timed((0.001, 0.1, 1.001, 0.05), seed=seed, label="ia3") for seed in range(3)]
    full, ia3 = panel_of(records).entries
    found = ratios(ia3, full)["backward"]
    assert found.pairs == 3
    assert not found.larger


def test_methods_without_a_common_run_are_not_compared():
    records = [timed((0.001, 0.1, 0.2, 0.05), task="sst2"), timed((0.001, 0.1, 0.2, 0.05), task="trec", label="ia3")]
    full, ia3 = panel_of(records).entries
    assert ratios(ia3, full) == {}
    assert sentence(ia3, full) is None


def test_methods_that_share_no_seed_are_compared_by_their_draws():
    records = [timed((0.001, 0.1, 0.2, 0.05), seed=0), timed((0.001, 0.05, 0.1, 0.05), seed=7, label="ia3")]
    full, ia3 = panel_of(records).entries
    assert ratios(ia3, full)["backward"].value == pytest.approx(0.5)


def test_the_reference_is_not_compared_with_itself():
    full = panel_of([timed((0.001, 0.1, 0.2, 0.05))]).entries[0]
    assert sentence(full, full) is None
    assert sentence(full, None) is None


def test_steps_that_read_computed_states_are_no_shorter_steps_of_the_backbone():
    cached = timed((1e-5, 1e-4, 1e-4, 1e-4), label="features", flops__phases={"features": {"counted": 10}})
    found = ledger_of([timed((0.001, 0.1, 0.2, 0.05)), cached])
    assert found.short == ""
    assert "features." in found.text[0]
