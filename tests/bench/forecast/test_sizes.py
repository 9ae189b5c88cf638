"""Parsing amounts of memory and sizes of sweeps."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tunefront.bench.errors import UserError
from tunefront.bench.forecast.sizes import MOST_SWEPT, Sweep, memory_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1B", 1),
        ("512 b", 512),
        ("200kB", 200_000),
        ("1000000", 10**6),
        ("24GB", 24 * 10**9),
        ("24 gb", 24 * 10**9),
        ("80GiB", 80 * 2**30),
        ("1.5kib", 1536),
        ("2e9", 2 * 10**9),
        (" 3 MB ", 3 * 10**6),
    ],
)
def test_an_amount_of_memory(text: str, expected: int) -> None:
    assert memory_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "0GB", "banana", "-3GB", "GB", "1.2.3GB", "24XB", "1e999", "nan", "inf", "²"]
)
def test_an_invalid_amount_of_memory_is_an_error(text: str) -> None:
    with pytest.raises(UserError, match=rf"{re.escape(repr(text))}.* 24GB"):
        memory_bytes(text)


@pytest.mark.parametrize("text", ["24", "1", " 16.5 ", "999999", "8e4"])
def test_a_small_number_without_a_unit_is_an_error(text: str) -> None:
    with pytest.raises(UserError, match=rf"^{text.strip()} without a unit .* {text.strip()}GB"):
        memory_bytes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch=8", ("batch", (8,))),
        ("batch=4,1,4,2", ("batch", (1, 2, 4))),
        (" length = 64 , 128,", ("length", (64, 128))),
    ],
)
def test_a_sweep_has_each_size_once_in_order(text: str, expected: tuple[str, tuple[int, ...]]) -> None:
    sweep = Sweep.from_text(text)
    assert (sweep.name, sweep.sizes) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("foo=1", r"takes batch=\.\.\. or length=\.\.\., got 'foo=1'"),
        ("", "takes batch"),
        ("batch", "got none"),
        ("batch=", "got none"),
        ("batch=-1", "'-1'"),
        ("batch=0", "got 0"),
        ("batch=1.5", "'1.5'"),
        ("batch=99999999", "'99999999'"),
        ("length=a", "'a'"),
        ("batch=" + ",".join(map(str, range(1, MOST_SWEPT + 2))), f"at most {MOST_SWEPT} sizes"),
    ],
)
def test_an_invalid_sweep_is_an_error(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Sweep.from_text(text)


def test_a_sweep_from_python_equals_the_parsed_one() -> None:
    assert Sweep.from_mapping({"batch": [4, 1, 4]}) == Sweep.from_text("batch=1,4")


@pytest.mark.parametrize(
    ("sizes", "fact"),
    [
        ({}, "{}"),
        ({"batch": [1], "length": [8]}, "length"),
        ({"epochs": [1]}, "epochs"),
        ({"batch": []}, "got none"),
        ({"batch": [0]}, "got 0"),
        ({"batch": ["1"]}, "'1'"),
        ({"batch": [True]}, "True"),
        ("batch=1", "batch=1"),
    ],
)
def test_an_invalid_sweep_from_python_is_an_error(sizes: Any, fact: str) -> None:
    with pytest.raises(UserError) as error:
        Sweep.from_mapping(sizes)
    assert fact in str(error.value)


@pytest.mark.parametrize("amount", [24 * 10**9, 10**6])
def test_bytes_are_an_amount_of_memory(amount: int) -> None:
    assert memory_bytes(amount) == amount


def test_a_small_number_without_a_unit_is_an_error_from_python_too() -> None:
    with pytest.raises(UserError, match="24GB"):
        memory_bytes(24)
