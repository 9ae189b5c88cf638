"""Names of tasks made of one's own files: `file:tickets.csv?label=sentiment&text=review,title&split=0.3`.

Everything that decides about the rows is in the name, so that it flows through suites, plans, records and reports as
the name of any task does. `frame:<hash>` is a DataFrame, kept in the cache. In a path, `?` is written %3F; in a value,
`&` is written %26; `%` before one of these codes is written %25.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from tunefront.bench.data.task import Kind
from tunefront.bench.errors import UserError, unknown
from tunefront.bench.files import expanded

FILE, FRAME = "file:", "frame:"
DEFAULT_SHARE = 0.2
"""Share of the rows that are the test split where neither the file nor the name says otherwise."""
_CODES = {"25": "%", "3F": "?", "26": "&"}
_CODE = re.compile("%(25|3F|26)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*%?")


@dataclass(frozen=True)
class FileName:
    """A file of rows and how to read it.

    Args: path, a file or folder, or the hash of a DataFrame; source, `file:` or `frame:`; test and validation, files of
    these rows; text, columns of inputs, each a name, a place from 1, or several with commas; label, id and group, a
    column each; split, the share of test rows, or the column that names each row's split; kind, the kind of task;
    header, `yes` or `no`: whether the first row names the columns; prompts, a file of prompt templates. None, or no
    text, for what is guessed.
    """

    path: str
    source: str = FILE
    test: str | None = None
    validation: str | None = None
    text: tuple[str, ...] = ()
    label: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None
    kind: str | None = None
    header: str | None = None
    prompts: str | None = None

    def __post_init__(self) -> None:
        share_of(self.split)
        known: dict[str, tuple[str, ...]] = {"kind": get_args(Kind), "header": ("yes", "no")}
        for option, allowed in known.items():
            value = getattr(self, option)
            if value is not None and value not in allowed:
                raise UserError(f"--{option}: {unknown('value', value, allowed)}")

    @classmethod
    def parse(cls, name: str) -> FileName:
        """The parts of a name. Errors: UserError for an unknown or repeated option, or a value that it cannot have."""
        source = FRAME if name.startswith(FRAME) else FILE
        path, _, rest = name.removeprefix(source).partition("?")
        if not path:
            raise UserError(f"{name!r} names no file; write {source}PATH, or --data PATH.")
        values: dict[str, list[str]] = {}
        for part in rest.split("&") if rest else []:
            option, equals, value = part.partition("=")
            if option not in OPTIONS:
                hint = "An option is written NAME=VALUE; a ? that belongs to the path is written %3F."
                raise UserError(f"task {name}: {unknown('option', option, OPTIONS, hint)}")
            if not equals or not value.strip():
                raise UserError(f"task {name}: {option} needs a value, as in {option}=VALUE.")
            if option in values and option != "text":
                raise UserError(f"task {name}: {option} is given twice; give it once.")
            values.setdefault(option, []).append(_decode(value))
        text = tuple(values.pop("text", ()))
        return cls(_decode(path), source, text=text, **{option: value for option, (value,) in values.items()})

    def __str__(self) -> str:
        """The name that `parse` reads, options in one order.

        >>> str(FileName("a?b.csv", text=("x,y",), split="0.30"))
        'file:a%3Fb.csv?text=x,y&split=0.3'
        """
        pairs = [("text", text) for text in self.text]
        pairs += [(option, value) for option in OPTIONS if option != "text" and (value := getattr(self, option))]
        share = share_of(self.split)
        options = [
            f"{option}={_encode(f'{share:g}' if option == 'split' and share else value, '&')}"
            for option, value in sorted(pairs, key=lambda pair: OPTIONS.index(pair[0]))
        ]
        return f"{self.source}{_encode(self.path, '?')}{'?' if options else ''}{'&'.join(options)}"

    def at(self, move: Callable[[str], str]) -> FileName:
        """The name with its paths changed by `move`; DataFrames have none."""
        path = self.path if self.source == FRAME else move(self.path)
        given: dict[str, str] = {option: file for option in PATHS if (file := getattr(self, option)) is not None}
        moved: dict[str, Any] = {  # Any: fields of several types
            option: file if file.startswith(FRAME) else move(file) for option, file in given.items()
        }
        return replace(self, path=path, **moved)


FILES = ("test", "validation")
"""The options that are files of rows, or DataFrames."""
PATHS = (*FILES, "prompts")
"""The options that are paths."""
OPTIONS = tuple(field.name for field in fields(FileName) if field.name not in ("path", "source"))
"""The options of a name, in the order in which they are written."""


def is_file_name(name: str) -> bool:
    """Whether this is the name of a task made of one's own files."""
    return name.startswith((FILE, FRAME))


def share_of(split: str | None) -> float | None:
    """The share that `split` states, None if it is left out or names a column. Errors: UserError for another number.

    >>> share_of("0.3"), share_of("30 %"), share_of("set")
    (0.3, 0.3, None)
    """
    if split is None or not _NUMBER.fullmatch(split.strip()):
        return None
    text = split.strip()
    share = float(text.rstrip("% ")) / (100 if text.endswith("%") else 1)
    if not 0 < share < 1:
        raise UserError(f"--split {split}: give the share of test rows, above 0 and below 1, such as --split 0.2.")
    return share


def spelled(name: str, folder: Path = Path()) -> str:
    """The name of a task with a plain path of a file, `tickets.csv`, and `dir:` before a file written as `file:`; any
    other name unchanged. `folder`: where relative paths start."""
    if is_file_name(name):
        return str(FileName.parse(name))
    path = name.removeprefix("dir:")
    if _is_file(path, folder):
        return str(FileName(path))
    if "?" in path and _is_file(path.partition("?")[0], folder):
        return str(FileName.parse(f"{FILE}{path}"))
    return name


def _is_file(path: str, folder: Path) -> bool:
    try:
        return (folder / expanded(path)).is_file()
    except (OSError, ValueError):  # no valid path
        return False


def _encode(text: str, mark: str) -> str:
    code = next(code for code, letter in _CODES.items() if letter == mark)
    return _CODE.sub(lambda found: f"%25{found[1]}", text).replace(mark, f"%{code}")


def _decode(text: str) -> str:
    return _CODE.sub(lambda found: _CODES[found[1]], text)
