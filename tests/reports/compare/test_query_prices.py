"""Prices of queries: break-even and expiring caches against numbers worked out by hand, and noise that is none."""

from __future__ import annotations

import math
import random

import pytest

from tests.reports.compare.test_break_even import NUMBERS, PROMPT
from tests.reports.prompted import prompted
from tunefront.reports.compare.break_even import Crossing, Line
from tunefront.reports.compare.price_map import candidates, price_map
from tunefront.reports.compare.prices import Device, List, Prices
from tunefront.reports.compare.query_comparison import Contest, compare_ways
from tunefront.reports.compare.query_costs import PRICE, WITH_CACHE, WITHOUT_CACHE, list_ways
from tunefront.reports.compare.query_prices import (
    DEVICE,
    TOKENS,
    chance_of_finding,
    expected_price,
    medians,
    price_costs,
    priced,
)

HALF = 60 * math.log(2)
"""Queries an hour at which half of them find a cache that lives for 60 s: 1 - exp(-HALF × 60 / 3600) = 1/2."""
LIST = List(input=2.0, output=8.0, cached_read=0.5, cache_write=2.5, training=10.0, time_to_live=60.0)
PRICES = Prices("EUR", "2026-01-31", "a contract", Device(hour=36.0, time_to_live=60.0), LIST)
"""36 EUR an hour are 0.01 EUR a second."""
TRAINED = {"tokens.query": 100.0, "tokens.right_answer": 5.0, "tokens.prefix": 0.0, "tokens.train": 400_000}
SHOWN = {"tokens.query": 100.0, "tokens.right_answer": 5.0, "tokens.prefix": 1000.0, "tokens.train": 0}


def ways(trained=None, **prompt):
    rows = {
        "ia3": [prompted(label="ia3", **{**NUMBERS, **TRAINED, **(trained or {})})],
        "icl:k=4": [prompted(label="icl:k=4", **{**PROMPT, **SHOWN, **prompt})],
    }
    return list_ways(rows)


def crossings(found, noisy=False):
    return {pair.prompted.how: pair.crossing for pair in compare_ways(found, PRICE, noisy)}


def near(line):
    return Line(pytest.approx(line.start), pytest.approx(line.slope))


def test_list_prices_of_training_and_of_queries():
    """A query: 100 × 2 + 5 × 8 = 240 EUR a million. Training: 400,000 × 10 = 4 EUR. With a cache, 1,000 tokens at 0.5
    in addition, and the first time 1,000 × (2.5 - 0.5) more; without one, 1,000 at 2."""
    trained, kept, read = priced(ways(), PRICES, TOKENS)
    assert trained.line(PRICE) == near(Line(4.0, 240e-6))
    assert kept.line(PRICE) == near(Line(0.002, 740e-6))
    assert read.line(PRICE) == near(Line(0.0, 2240e-6))


def test_break_even_by_list_price_is_the_one_worked_out_by_hand():
    """With a cache that never expires (4 - 0.002) / (740 - 240)e-6 = 7,996; without one 4 / (2240 - 240)e-6 = 2,000."""
    found = crossings(priced(ways(), PRICES, TOKENS))
    assert (found[WITH_CACHE].kind, found[WITHOUT_CACHE].kind) == ("after", "after")
    assert found[WITH_CACHE].queries == pytest.approx(7996)
    assert found[WITHOUT_CACHE].queries == pytest.approx(2000)


def test_a_cache_that_expires_is_paid_again():
    """Half of the later queries write the cache again: 740 + 2,000 / 2 = 1,740 EUR a million, and half of the first
    writing stays before the first query: (4 - 0.001) / (1740 - 240)e-6 = 2,666."""
    found = priced(ways(), PRICES, TOKENS, HALF)
    assert found[1].line(PRICE) == near(Line(0.001, 1740e-6))
    assert crossings(found)[WITH_CACHE].queries == pytest.approx(2666)
    assert crossings(found)[WITHOUT_CACHE].queries == pytest.approx(2000), "nothing is kept that could expire"


def test_break_even_by_device_hours_is_the_one_worked_out_by_hand():
    """Training 90 s = 0.90 EUR, a query 0.25 s = 0.0025 EUR. Prompt: reading 2 s = 0.02 EUR, a query 0.5 s = 0.005 EUR:
    (0.90 - 0.02) / 0.0025 = 352. If half read again, 0.005 + 0.01 a query: (0.90 - 0.01) / 0.0125 = 71.2."""
    kept, expired = priced(ways(), PRICES, DEVICE), priced(ways(), PRICES, DEVICE, HALF)
    assert kept[0].line(PRICE) == near(Line(0.90, 0.0025))
    assert kept[1].line(PRICE) == near(Line(0.02, 0.005))
    assert crossings(kept, noisy=True)[WITH_CACHE].queries == pytest.approx(352)
    assert crossings(expired, noisy=True)[WITH_CACHE].queries == pytest.approx(71.2)


def test_the_expected_cost_is_the_mean_of_queries_that_come_at_random():
    """A simulation of the cache: a query that comes within the time to live finds it, and renews it."""
    generator, queries, rate, seconds = random.Random(0), 200_000, 40.0, 60.0
    gaps = (generator.expovariate(rate / 3600) for _ in range(queries - 1))
    misses = 1 + sum(gap >= seconds for gap in gaps)
    way = ways()[1]
    price = expected_price(way, way.runs[0], PRICES, TOKENS)
    total = price.start + queries * price.query + misses * price.miss
    line = priced([way], PRICES, TOKENS, rate)[0].line(PRICE)
    assert line.at(queries) == pytest.approx(total, rel=0.02)


@pytest.mark.parametrize(("rate", "chance"), [(None, 1.0), (0.0, 0.0), (HALF, 0.5), (1e9, 1.0)])
def test_the_chance_of_finding_a_cache(rate, chance):
    assert chance_of_finding(60.0, rate) == pytest.approx(chance)
    assert chance_of_finding(None, rate) == 1.0


def test_noise_of_a_clock_is_no_break_even_by_device_hours():
    """Both need 1,000 FLOPs per query: that one took 0.25 s and the other 0.5 s may be the machine's load."""
    found = priced(ways(flops__inference_per_example=1000.0), PRICES, DEVICE)
    assert crossings(found, noisy=True)[WITH_CACHE] == Crossing("unclear", reason="both need the same FLOPs per query")


def test_seconds_of_a_calibration_are_not_priced_as_reading():
    found = priced(ways(flops__prefix=8_560, flops__calibration=60), PRICES, DEVICE, HALF)
    assert found[1].line(PRICE) is None


def test_without_a_price_of_training_only_prompts_have_list_prices():
    bare = Prices("EUR", "2026-01-31", "us", tokens=List(2.0, 8.0))
    trained, kept, read = priced(ways(), bare, TOKENS)
    assert (trained.line(PRICE), kept.line(PRICE)) == (None, None)
    assert read.line(PRICE) == near(Line(0.0, 2240e-6))


def test_a_cache_is_written_at_the_price_of_input_unless_it_has_its_own():
    """1,000 × (2 - 0.5) for the first query in addition."""
    bare = Prices("EUR", "2026-01-31", "us", tokens=List(2.0, 8.0, cached_read=0.5))
    assert medians(ways()[1], bare, TOKENS).miss == pytest.approx(1500e-6)


def test_a_learned_prompt_is_no_text_that_is_paid_for():
    led = ways(trained={"tokens.prefix": 20.0})[0]
    assert medians(led, PRICES, TOKENS) == medians(ways()[0], PRICES, TOKENS)


def test_the_map_has_the_break_even_of_every_rate():
    """At few queries an hour every query writes the cache: 2,740 - 240 = 2,500 EUR a million more than trained ones, as
    the prompt without a cache costs 2,000 more, which then is cheaper. Training pays off after 2,000 queries, at many
    queries an hour after 7,996."""
    found = price_map(candidates(ways(), ["ia3", "icl:k=4"]), PRICES, TOKENS)
    assert found.rates == (1, 3, 10, 30, 100, 300)
    names = {total: [winner.name for winner in row] for total, row in zip(found.totals, found.winners, strict=True)}
    assert names[1000][0] == "icl:k=4 without cache"
    assert names[1000][-1] == "icl:k=4 with cache"
    assert set(names[10_000]) == {"ia3"}
    for total in (1, 10, 100):
        assert "ia3" not in names[total]


def test_there_is_no_map_without_a_prompt_or_without_what_is_trained():
    trained, *shown = ways()
    assert price_map([trained, ways()[0]], PRICES, TOKENS) is None
    assert price_map(shown, PRICES, TOKENS) is None


def test_where_nothing_is_kept_the_rate_of_queries_is_no_matter():
    read = ways(flops__prefix=None, seconds__prefix=None, prompt__kv_cache_bytes=None)
    assert price_map(read, PRICES, TOKENS).rates == (None,)


def test_what_is_not_distinguished_is_named_with_the_cheapest():
    """Two trained methods with equal FLOPs per query and in training differ by noise alone."""
    same = {**NUMBERS, **TRAINED}
    rows = {
        "ia3": [prompted(label="ia3", **same)],
        "lora": [prompted(label="lora", **{**same, "seconds.train": 80.0, "examples_per_second.eval": 4.2})],
        "full": [prompted(label="full", **{**same, "flops.train": 9_000_000, "seconds.train": 900.0})],
    }
    contest = Contest(priced(list_ways(rows), PRICES, DEVICE), PRICE, noisy=True)
    first, *tied = (way.name for way in contest.cheapest(1000))
    assert {first, *tied} == {"ia3", "lora"}
    assert [way.name for way in Contest(list_ways(rows), "flops", noisy=False).cheapest(1000)] == ["ia3", "lora"]


def test_a_cost_of_an_axis_is_the_price_of_a_million_queries():
    device, tokens = price_costs(PRICES)
    shown, trained = (
        prompted(label=label, **numbers)
        for label, numbers in (("icl:k=4", {**PROMPT, **SHOWN}), ("ia3", {**NUMBERS, **TRAINED}))
    )
    assert tokens.read(trained) == pytest.approx(240)
    assert tokens.read(shown) == pytest.approx(740)
    assert device.read(trained) == pytest.approx(2500)
    assert (device.timed, tokens.timed) == (True, False)
    assert price_costs(None) == []
    assert "EUR" in tokens.text(tokens.read(trained))
