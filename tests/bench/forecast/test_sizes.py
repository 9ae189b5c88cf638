"""Amounts of memory and sizes of sweeps as typed."""

from __future__ import annotations

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
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(UserError, match=r"is no amount of memory; give for example 24GB"):
        memory_bytes(text)


@pytest.mark.parametrize("text", ["24", "1", " 16.5 ", "999999", "8e4"])
def test_a_small_number_without_a_unit_is_asked_for_its_unit(text: str) -> None:
    with pytest.raises(
        UserError, match=rf"^{text.strip()} without a unit .*; give it one, for example {text.strip()}GB"
    ):
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
        ("batch", "there is none"),
        ("batch=", "there is none"),
        ("batch=-1", "'-1' is none"),
        ("batch=0", "0 is none"),
        ("batch=1.5", "'1.5' is none"),
        ("batch=99999999", "is none"),
        ("length=a", "'a' is none"),
        ("batch=" + ",".join(map(str, range(1, MOST_SWEPT + 2))), f"at most {MOST_SWEPT} sizes"),
    ],
)
def test_what_is_no_sweep(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Sweep.from_text(text)


def test_a_sweep_of_a_program_is_that_of_a_text() -> None:
    assert Sweep.from_mapping({"batch": [4, 1, 4]}) == Sweep.from_text("batch=1,4")


@pytest.mark.parametrize(
    ("sizes", "fact"),
    [
        ({}, "{}"),
        ({"batch": [1], "length": [8]}, "length"),
        ({"epochs": [1]}, "epochs"),
        ({"batch": []}, "there is none"),
        ({"batch": [0]}, "0 is none"),
        ({"batch": ["1"]}, "'1' is none"),
        ({"batch": [True]}, "True is none"),
        ("batch=1", "batch=1"),
    ],
)
def test_what_is_no_sweep_of_a_program(sizes: Any, fact: str) -> None:
    with pytest.raises(UserError) as error:
        Sweep.from_mapping(sizes)
    assert fact in str(error.value)


@pytest.mark.parametrize("amount", [24 * 10**9, 10**6])
def test_bytes_are_an_amount_of_memory(amount: int) -> None:
    assert memory_bytes(amount) == amount


def test_a_few_bytes_are_asked_for_their_unit_from_a_program_too() -> None:
    with pytest.raises(UserError, match="24GB"):
        memory_bytes(24)
