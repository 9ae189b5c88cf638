"""Prices that a user gives: what a file may hold, and one paragraph about what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ROOT
from tunefront.bench.errors import UserError
from tunefront.reports.compare.prices import Device, List, Prices, read_prices

WHOLE = """
currency = "EUR"
date = 2026-01-31
source = "our contract"
[device]
hour = 1.5
name = "one GPU"
[tokens]
input = 2
output = 8.0
cached_read = 0.5
cache_write = 2.5
training = 10
time_to_live = 300
"""
HEAD = 'currency = "EUR"\ndate = 2026-01-31\nsource = "us"\n'


def read(folder: Path, text: str) -> Prices:
    path = folder / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return read_prices(path)


def test_a_file_holds_two_models_of_price(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == Prices(
        "EUR",
        "2026-01-31",
        "our contract",
        Device(1.5, "one GPU"),
        List(2.0, 8.0, cached_read=0.5, cache_write=2.5, training=10.0, time_to_live=300.0),
    )


def test_a_date_may_be_a_text_and_one_model_is_enough(tmp_path: Path) -> None:
    prices = read(tmp_path, HEAD.replace("2026-01-31", '"2026-01-31"') + "device.hour = 2")
    assert (prices.date, prices.device, prices.tokens) == ("2026-01-31", Device(2.0), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD, ["[device]", "[tokens]"]),
        (HEAD + "device.hour = -1", ["device.hour", "-1"]),
        (HEAD + "device.hour = nan", ["device.hour", "nan"]),
        (HEAD + "device.hour = inf", ["device.hour", "inf"]),
        (HEAD + f"device.hour = 1{'0' * 400}", ["device.hour"]),
        (HEAD + "device.hour = true", ["device.hour", "True"]),
        (HEAD + 'device.hour = "1"', ["device.hour", "number"]),
        (HEAD + "device.hours = 1", ["'hours'", "did you mean 'hour'"]),
        (HEAD + "devise.hour = 1", ["'devise'", "did you mean 'device'"]),
        (HEAD + "device = 3", ["device", "table"]),
        (HEAD + "[device]", ["[device]", "hour"]),
        (HEAD + "[tokens]\ninput = 1", ["[tokens]", "output"]),
        (HEAD + "[tokens]\ninput = 1\noutput = 2\ncache_reed = 1", ["did you mean 'cached_read'"]),
        (WHOLE.replace("date = 2026-01-31", ""), ["date is missing"]),
        (WHOLE.replace("2026-01-31", '"last week"'), ["last week", "2026-01-31"]),
        (WHOLE.replace("2026-01-31", "2026-13-31"), ["TOML"]),
        (WHOLE.replace("2026-01-31", "12"), ["date", "12"]),
        (WHOLE.replace('"our contract"', '""'), ["source"]),
        (WHOLE.replace('"EUR"', "3"), ["currency"]),
        (WHOLE.replace("EUR", "E" * 50), ["currency", "12"]),
        ("currency = ", ["TOML"]),
        ("[" * 50_000, ["TOML"]),
        ("# " + "x" * 200_000, ["kB"]),
    ],
)
def test_what_a_file_may_not_hold_is_said_in_a_paragraph(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    said = str(caught.value)
    assert "prices.toml" in said
    assert "\n" not in said
    assert len(said) < 800
    for word in words:
        assert word in said


@pytest.mark.parametrize("name", ["nowhere.toml", ".", "a\0b"])
def test_no_file_is_said_in_a_paragraph(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="prices"):
        read_prices(name)


def test_other_bytes_than_text_are_said_in_a_paragraph(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_bytes(b"\xff\xfe\x00currency")
    with pytest.raises(UserError, match="TOML"):
        read_prices(path)


def test_texts_are_printed_without_what_a_terminal_would_act_on(tmp_path: Path) -> None:
    prices = read(tmp_path, WHOLE.replace('"our contract"', '"a\\u001b[31mb"'))
    assert "\x1b" not in prices.stamp


def test_a_model_of_the_package_has_its_list_prices() -> None:
    """The package's own data, by another of its interfaces: the price of a million tokens each."""
    genai = pytest.importorskip("genai_prices")
    prices = read_prices("genai:claude-haiku-4-5")
    assert prices.tokens is not None
    usage = {
        "input": genai.Usage(input_tokens=1_000_000),
        "output": genai.Usage(output_tokens=1_000_000),
        "cached_read": genai.Usage(input_tokens=1_000_000, cache_read_tokens=1_000_000),
    }
    for name, used in usage.items():
        assert getattr(prices.tokens, name) == float(genai.calc_price(used, "claude-haiku-4-5").total_price)
    assert "genai-prices" in prices.source
    assert prices.currency == "USD"


def test_an_unknown_model_of_the_package_has_a_nearest_name() -> None:
    pytest.importorskip("genai_prices")
    with pytest.raises(UserError, match="did you mean 'claude-haiku"):
        read_prices("genai:claud-haiku-4")


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    with pytest.raises(UserError, match=r"pip install 'tunefront\[prices\]'"):
        read_prices("genai:claude-haiku-4-5")


def test_the_example_waits_for_a_day_and_a_source(tmp_path: Path) -> None:
    text = ROOT.joinpath("docs/examples/prices.toml").read_text(encoding="utf-8")
    with pytest.raises(UserError, match="date must be a day"):
        read(tmp_path, text)
    filled = read(tmp_path, text.replace("fill in: the day of these prices, such as 2026-01-31", "2026-01-31"))
    assert filled.device is not None
    assert filled.tokens is not None
    assert None not in (*vars(filled.device).values(), *vars(filled.tokens).values())
