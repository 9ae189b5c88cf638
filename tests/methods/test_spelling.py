"""How methods are written: spelling, parsing, and what is refused with what words."""

from __future__ import annotations

import gc
import random
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from tests.methods.users_files import WRITTEN, write
from tunefront.methods.base import Backbone, Method
from tunefront.methods.full import Full
from tunefront.methods.houlsby import Houlsby
from tunefront.methods.ia3 import IA3
from tunefront.methods.registry import UnknownMethod, find, source_file
from tunefront.methods.spelling import label, parse, spell

pytestmark = pytest.mark.usefixtures("quick_garbage", "forgotten")


def kinds() -> type[Method]:
    """A method with a field of every kind, defined in each test, so that no other test sees it."""

    @dataclass(frozen=True)
    class Kinds(Method):
        name: ClassVar[str] = "kinds"
        count: int = 1
        size: float = 0.5
        on: bool = False
        text: str = "a"
        way: Literal["up", "down"] = "up"
        most: int | None = None
        rate: float | None = None
        note: str | None = None

        def attach(self, backbone: Backbone) -> None:
            """Nothing."""

    return Kinds


def test_spelling_has_every_field_in_declared_order_and_the_label_only_changes() -> None:
    assert spell(Houlsby(bottleneck=8)) == "houlsby:bottleneck=8,std=0.001,norms=true"
    assert label(Houlsby(bottleneck=8)) == "houlsby:bottleneck=8"
    assert label(Houlsby()) == "houlsby"
    assert spell(Full()) == label(Full()) == "full"
    assert (spell(IA3()), label(IA3())) == ("ia3:start=none", "ia3")
    start = IA3(start="starts/t0.safetensors")
    assert (spell(start), label(start)) == ("ia3:start=starts/t0.safetensors", "ia3:start=t0.safetensors")
    assert spell(start, {"start": "1a2b"}) == label(start, {"start": "1a2b"}) == "ia3:start=1a2b"


def test_one_value_has_one_spelling() -> None:
    """A whole number given for a fraction is the same method, so it is the same record."""
    assert Houlsby(std=1) == Houlsby(std=1.0)
    assert spell(Houlsby(std=1)) == spell(Houlsby(std=1.0)) == spell(parse("houlsby:std=1"))


@pytest.mark.parametrize(
    "text",
    [
        "houlsby:bottleneck=8",
        " houlsby:bottleneck=8 ",
        "houlsby: bottleneck = 8",
        "houlsby(bottleneck=8)",
        "houlsby( bottleneck = 8 , )",
        "houlsby:bottleneck=8,std=0.001",
        "houlsby:std=1e-3,bottleneck=8",
        "houlsby(bottleneck=8, std=1e-3)",
    ],
)
def test_the_ways_to_write_one_method(text: str) -> None:
    assert parse(text) == Houlsby(bottleneck=8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("houlsby:bottlneck=8", "houlsby has no field 'bottlneck'; did you mean 'bottleneck'? It has: bottleneck, std"),
        ("full:rank=2", "full has no field 'rank'. It has none."),
        ("houlsby:bottleneck=0", "bottleneck must be at least 1, got 0 in houlsby:bottleneck=0."),
        ("houlsby:bottleneck=x", "bottleneck in houlsby:bottleneck=x must be int, got 'x'"),
        ("houlsby:bottleneck=8.5", "must be int, got '8.5'"),
        ("houlsby:bottleneck=true", "must be int, got 'true'"),
        ("houlsby:bottleneck=none", "must be int, got 'none'"),
        ("houlsby:bottleneck=", "must be int, got ''"),
        ("houlsby:std=wide", "std in houlsby:std=wide must be float, got 'wide'"),
        ("houlsby:bottleneck=8,bottleneck=9", "gives bottleneck twice"),
        ("houlsby:bottleneck", "cannot read 'bottleneck' in 'houlsby:bottleneck'; write name:field=value"),
        ("houlsby(8)", "cannot read 'houlsby(8)'; write name(field=value, ...) with plain values"),
        ("houlsby(**{'bottleneck': 8})", "with plain values"),
        ("houlsby(bottleneck=[8])", "must be int, got [8]"),
        ("houlsby(bottleneck='8')", "must be int, got '8'"),
        ('houlsby:bottleneck="8', "cannot read \"8 in 'houlsby:bottleneck=\"8'; a quoted text ends with a quote"),
        ("houlsby(bottleneck=8", "no method 'houlsby(bottleneck=8'"),
        ("", "no method ''"),
        (":", "no method ''"),
        ("houlsby)", "no method 'houlsby)'; did you mean 'houlsby'"),
    ],
)
def test_a_mistake_in_a_spelling_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises((ValueError, UnknownMethod)) as error:
        parse(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "inside",
    [
        "bottleneck=__import__('os').system('false')",
        "bottleneck=open('/nowhere')",
        "bottleneck=(lambda: 8)()",
        "bottleneck=8 if 1 else 9",
        "bottleneck=2**3",
        "bottleneck=8)(std=1",
        "bottleneck=8) or f(std=1",
        ") or (",
        "bottleneck=8); f(std=1",
        "bottleneck=" + "(" * 500 + "8" + ")" * 500,
        "bottleneck={[]: 1}",
        "bottleneck='\0'",
        "bottleneck=8, bottleneck=8",
    ],
)
def test_a_call_is_read_and_never_evaluated(inside: str) -> None:
    with pytest.raises(ValueError, match=r"cannot read|must be int|gives bottleneck twice"):
        parse(f"houlsby({inside})")


def test_any_text_is_a_method_or_a_clear_error() -> None:
    generator = random.Random(0)
    for _ in range(300):
        text = "".join(generator.choices("abs=,():.{}[]'\"\\018e+-_# \t\n\0é", k=generator.randrange(12)))
        for spelled in (text, f"houlsby:{text}", f"houlsby:std={text}", f"houlsby({text})", f"houlsby(std={text})"):
            message = "a method"
            try:
                parse(spelled)
            except (ValueError, UnknownMethod) as error:
                message = str(error)
            assert message, spelled


ODD = (
    "none",
    "null",
    "Null",
    "8",
    "-1e3",
    "nan",
    "true",
    "",
    " ",
    " x ",
    "a,b=c",
    "=",
    '"',
    '"q"',
    "\\",
    "(",
    ")",
    "é\n",
)


@pytest.mark.parametrize(
    "values",
    [
        *({"text": text, "note": text} for text in ODD),
        *({"size": size, "rate": size} for size in (0.0, -0.0, 1e-300, 1 / 3, 1e22, float("inf"), float("-inf"), 3)),
        *({"count": count, "most": count} for count in (0, -7, 10**30)),
        {"on": True, "way": "down"},
        {"on": False, "most": None, "rate": None, "note": None},
    ],
)
def test_spelling_and_parsing_are_inverse(values: dict[str, object]) -> None:
    method = kinds()(**values)
    again = parse(spell(method))
    assert again == method
    assert vars(again) == vars(method)
    assert spell(again) == spell(method)
    assert parse(label(method)) == method


def test_plain_texts_are_spelled_without_quotes() -> None:
    assert spell(kinds()(text="last-token", way="down")) == (
        "kinds:count=1,size=0.5,on=false,text=last-token,way=down,most=none,rate=none,note=none"
    )


def test_a_choice_is_checked_against_its_list() -> None:
    cls = kinds()
    with pytest.raises(ValueError, match="way in kinds:way=left must be one of up, down, got 'left'"):
        parse("kinds:way=left")
    assert parse("kinds:way=down") == cls(way="down")


def test_a_field_without_a_default_is_required() -> None:
    @dataclass(frozen=True)
    class Asking(Method):
        name: ClassVar[str] = "asking"
        rank: int

        def attach(self, backbone: Backbone) -> None:
            """Nothing."""

    with pytest.raises(ValueError, match="asking lacks rank; write asking:rank=VALUE"):
        parse("asking")
    assert parse("asking:rank=2") == Asking(2)
    assert label(Asking(2)) == "asking:rank=2"


def test_a_users_file_gives_its_class(tmp_path: Path) -> None:
    path = write(tmp_path)
    method = parse(f"{path}:Mine:size=5")
    assert (method.name, method.size) == ("mine", 5)  # type: ignore[attr-defined]
    assert spell(method) == "mine:size=5"
    assert parse("mine:size=5") == method == parse(f"{path}:Mine(size=5)")
    assert parse(f"{path}:Mine").size == 3  # type: ignore[attr-defined]
    assert source_file(method) == path
    assert find("mine") is type(method)


@pytest.mark.parametrize(
    ("content", "ask", "message"),
    [
        (None, "gone.py:Mine", "there is no file .*gone.py; give your own method as path/to/file.py:ClassName"),
        ("x = 1", "own.py:Mine", "own.py has no method class 'Mine'; it has: none"),
        (WRITTEN.format(name="mine"), "own.py:Mien", "has no method class 'Mien'; it has: Mine"),
        ("1 +", "own.py:Mine", "own.py could not be imported: SyntaxError"),
        ("import nowhere_at_all", "own.py:Mine", "could not be imported: ModuleNotFoundError: .*nowhere_at_all"),
        ("from tunefront.methods.full import Full", "own.py:Nope", "it has: none"),
    ],
)
def test_a_users_file_that_cannot_be_used_is_named(content: str | None, ask: str, message: str, tmp_path: Path) -> None:
    if content is not None:
        tmp_path.joinpath("own.py").write_text(content, encoding="utf-8")
    with pytest.raises((ValueError, UnknownMethod), match=message):
        parse(f"{tmp_path}/{ask}")


@pytest.mark.parametrize("value", ["inf", "1e400", "9" * 400, "9" * 5000])
def test_a_number_that_no_float_can_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"std must be at most .*, got inf in houlsby"):
        parse(f"houlsby:std={value}")


def test_a_class_that_was_spelled_can_be_forgotten() -> None:
    """Else a program that defines a method again, as one does in a notebook, would have two of its name."""

    def spelled() -> weakref.ref[type[Method]]:
        @dataclass(frozen=True)
        class Passing(Method):
            """Does nothing."""

            name: ClassVar[str] = "passing"
            share: float = 1

            def attach(self, backbone: Backbone) -> None:
                """Nothing."""

        assert spell(Passing()) == "passing:share=1.0"
        return weakref.ref(Passing)

    left = spelled()
    gc.collect()
    assert left() is None
