"""Values of an option as typed: none blank, none repeated, all of them text."""

from __future__ import annotations

from collections.abc import Sequence

from tunefront.bench.errors import UserErrors, printable

LONGEST = 10_000
"""The most characters of a value on the command line."""


def parse_values(option: str, texts: Sequence[str] | None, commas: bool = False) -> list[str] | None:
    """The stripped values of an option; with `commas` each text is a list. None if the option was not given; UserErrors
    with all values that are blank, repeated, too long or not text."""
    if texts is None:
        return None
    values: list[str] = []
    wrong: list[str] = []
    for text in texts:
        for part in [part.strip() for part in (text.split(",") if commas else [text])]:
            if not part:
                kind = "an empty item" if text.strip(" ,") else "no value"
                wrong.append(f"{option} has {kind} in {text[:50]!r}; give a value, or leave {option} out.")
            elif len(part) > LONGEST:
                wrong.append(
                    f"{option} has a value of {len(part):,} characters, {part[:50]!r}...; the limit is {LONGEST:,}."
                )
            elif _unwritable(part):
                wrong.append(
                    f"{option} has the value {printable(part)!r}, which is not UTF-8 text or contains a NUL character."
                )
            elif part in values:
                wrong.append(f"{option} names {part!r} twice; once is enough.")
            else:
                values.append(part)
    if wrong:
        raise UserErrors(wrong)
    return values


def _unwritable(text: str) -> bool:
    return any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text)
