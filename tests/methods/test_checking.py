"""Checks of a user's class: each error names its file, its class, its field and what to write."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from tunefront.bench.errors import UserError
from tunefront.bench.suites.sweeps import method_of
from tunefront.methods.checking import where
from tunefront.methods.full import Full
from tunefront.methods.spelling import label, parse, spell

pytestmark = pytest.mark.usefixtures("quick_garbage", "forgotten")
_numbers = itertools.count()

HEAD = """
from __future__ import annotations
import dataclasses, enum, sys, typing
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Optional, TYPE_CHECKING
import torch
from tunefront import Method, Recipe
from tunefront.methods.full import Full
if TYPE_CHECKING:
    from somewhere import Thing

"""
ATTACH = "    def attach(self, backbone): backbone.freeze()\n"
NAME = '    name: ClassVar[str] = "mine_NUMBER"\n'
WHOLE = "@dataclass(frozen=True)\nclass Mine(Method):\n" + NAME + ATTACH


def given(folder: Path, content: str, values: str = "", cls: str = "Mine") -> str:
    """The spelling of a class in a file with this content."""
    path = folder / "own.py"
    path.write_text((HEAD + content).replace("NUMBER", str(next(_numbers))), encoding="utf-8")
    return f"{path}:{cls}{values}"


def fields(*lines: str) -> str:
    return WHOLE + "".join(f"    {line}\n" for line in lines)


WRONG = {
    "no name": (
        "@dataclass(frozen=True)\nclass Mine(Method):\n" + ATTACH,
        "own.py:Mine needs a class attribute `name`",
    ),
    "capitals": (WHOLE.replace("mine_NUMBER", "MyWay"), "got 'MyWay'"),
    "blanks": (WHOLE.replace("mine_NUMBER", "my way"), "got 'my way'"),
    "number": (WHOLE.replace('"mine_NUMBER"', "3"), "got 3"),
    "property": (
        "@dataclass(frozen=True)\nclass Mine(Method):\n    @property\n    def name(self): return 'mine'\n" + ATTACH,
        "got a property",
    ),
    "as a field": (WHOLE.replace("ClassVar[str]", "str"), "field name"),
    "not a dataclass": (
        "class Mine(Method):\n" + NAME + "    size: int = 3\n" + ATTACH,
        "@dataclass(frozen=True) above it",
    ),
    "not frozen": (WHOLE.replace("(frozen=True)", ""), "frozen"),
    "abstract": (WHOLE.replace(ATTACH, ""), "defines no attach()"),
    "list default": (fields("sizes: list = []"), "mutable default"),
    "list": (fields("sizes: list[int] = field(default_factory=list)"), "field sizes of type"),
    "dict": (fields("sizes: dict = field(default_factory=dict)"), "field sizes of type dict"),
    "tuple": (fields("sizes: tuple[int, ...] = (1, 2)"), "field sizes"),
    "set": (fields("sizes: frozenset = frozenset()"), "field sizes"),
    "tensor": (fields("start: torch.Tensor = None"), "field start of type Tensor"),
    "optional tensor": (fields("start: Optional[torch.Tensor] = None"), "field start of type Tensor"),
    "any": (fields("what: typing.Any = 1"), "field what of type Any"),
    "unknown": (fields("what: Nowhere = 1"), "Nowhere"),
    "for types alone": (fields("what: Thing = 1"), "Thing"),
    "no sense": (fields("what: 'int |' = 1"), "annotation that cannot be read"),
    "wrong default": (fields("size: int = 'many'"), "field size whose default 'many'"),
    "half default": (fields("size: int = 1.5"), "field size whose default 1.5"),
    "not given": (fields("size: int = field(default=3, init=False)"), "init=False"),
    "recipe as dict": (fields("recipe: ClassVar = {'learning_rate': 1e-3}"), "a recipe that is a dict"),
    "recipe as class": (fields("recipe: ClassVar = Recipe"), "a recipe that is a type"),
    "recipe as field": (fields("recipe: Recipe = Recipe()"), "field recipe"),
    "recipe that is wrong": (fields("recipe: ClassVar = Recipe(learning_rate=-1)"), "learning_rate must be above 0"),
    "files as text": (fields("files: ClassVar = 'start'"), "files = 'start'"),
    "files unknown": (fields("files: ClassVar = ('start',)"), "files = ('start',)"),
    "raises": (fields("def __post_init__(self): raise TypeError('odd')"), "could not be constructed"),
    "exits": (fields("def __post_init__(self): sys.exit(0)"), "SystemExit: 0"),
    "panics": (fields("def __post_init__(self): raise type('Panic', (BaseException,), {})('rust')"), "Panic: rust"),
    "refuses": (fields("size: int = 1", "def __post_init__(self): raise ValueError('size is odd')"), "size is odd in"),
    "changes": (
        fields("size: int = 1", "def __post_init__(self): object.__setattr__(self, 'size', [1])"),
        "field size",
    ),
    "own equality": (
        WHOLE.replace("frozen=True", "frozen=True, eq=False") + "    def __eq__(self, o): return 1\n",
        "hash",
    ),
    "rows": (fields("fewest_rows = 'two'"), "fewest_rows"),
    "rows that raise": (fields("@property", "def fewest_rows(self): return 1 / 0"), "fewest_rows raises"),
    "needs": (fields("size: int"), "lacks size; write mine_"),
    "a function": ("def Mine(): pass\n", "Mine in"),
    "a class": ("class Mine: pass\n", "not a method class"),
    "the base": ("Mine = Method\n", "not a method class"),
    "missing": ("x = 1\n", "has no method class 'Mine'"),
    "no class": (WHOLE, "has no method class ''", "", ""),
    "broken": ("def (:\n", "SyntaxError"),
    "binary": ("\x00\x01", "could not be imported"),
    "no import": ("import nowhere_at_all\n", "nowhere_at_all"),
    "exit at import": ("sys.exit(0)\n", "SystemExit: 0"),
    "error at import": ("1 / 0\n", "ZeroDivisionError: division by zero (line 12)"),
    "shipped name": (WHOLE.replace("mine_NUMBER", "full"), "two methods are named 'full'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_invalid_class_is_reported_in_one_paragraph(case: str, tmp_path: Path) -> None:
    content, fact, *rest = WRONG[case]
    with pytest.raises(UserError) as error:
        method_of(given(tmp_path, content, *rest))
    assert fact in str(error.value)
    assert "own.py" in str(error.value)
    assert "\n" not in str(error.value)


FINE = {
    "plain": (WHOLE, ""),
    "name alone": (WHOLE.replace("name: ClassVar[str] =", "name ="), ""),
    "optional": (fields("size: Optional[int] = None"), ":size=3"),
    "old union": (fields("size: typing.Union[int, str, None] = None"), ":size=three"),
    "literal": (fields("how: Literal['a', 'b'] = 'a'"), ":how=b"),
    "literal numbers": (fields("how: Literal[1, 2] = 1"), ":how=2"),
    "literal or none": (fields("how: Literal['a', 'b'] | None = None"), ":how=a"),
    "literal or number": (fields("how: Literal['auto'] | int = 'auto'"), ":how=4"),
    "whole for fraction": (fields("rate: float = 1"), ":rate=2"),
    "a constant": (fields("SIZES: ClassVar[list] = [1]"), ""),
    "inherits": ('class Mine(Full):\n    name = "mine_NUMBER"\n', ""),
    "keyword only": (fields("size: int = field(default=3, kw_only=True)"), ":size=4"),
    "given": (fields("size: int"), ":size=4"),
}


@pytest.mark.parametrize("case", FINE)
def test_what_is_a_method_is_spelled_and_read_again(case: str, tmp_path: Path) -> None:
    content, values = FINE[case]
    method = method_of(given(tmp_path, content, values))
    assert parse(spell(method)) == method
    assert parse(label(method)) == method


def test_two_files_of_one_name_are_both_named(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").write_text(HEAD + WHOLE.replace("NUMBER", "twin"), encoding="utf-8")
    method_of(f"{tmp_path}/one/own.py:Mine")
    with pytest.raises(UserError) as error:
        method_of(f"{tmp_path}/two/own.py:Mine")
    assert "one/own.py:Mine" in str(error.value)
    assert "two/own.py:Mine" in str(error.value)


@pytest.mark.parametrize("kind", ["folder", "fifo", "nowhere", "long", "user", "nul", "latin-1"])
def test_a_path_that_is_no_file_is_reported(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "own.py")
    if kind == "folder":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "latin-1":
        Path(path).write_bytes(b"# \xe9\n")
    else:
        path = {"long": "x" * 5000 + ".py", "user": "~nobody-of-this-name/own.py", "nul": "a\0b.py"}.get(kind, path)
    with pytest.raises(UserError) as error:
        method_of(f"{path}:Mine")
    assert Path(path).name[:9] in str(error.value)


def test_a_file_without_its_class_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"own\.py:ClassName"):
        method_of(given(tmp_path, WHOLE).removesuffix(":Mine"))


def test_an_import_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    method_of(given(tmp_path, "import os; os.chdir('/')\n" + WHOLE))
    assert Path.cwd() == tmp_path


def test_a_shipped_class_is_named_by_its_module() -> None:
    assert where(Full) == "tunefront.methods.full.Full"
