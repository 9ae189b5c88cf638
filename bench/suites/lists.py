"""What an option was given, as typed: nothing blank, nothing twice, nothing that is not text."""

from __future__ import annotations

from collections.abc import Sequence

from tunefront.bench.errors import UserErrors, printable

LONGEST = 10_000
"""Characters of one value on the command line."""


def listed(option: str, texts: Sequence[str] | None, commas: bool = False) -> list[str] | None:
    """The values of an option, each without blanks around it; with `commas` each text is a list. None where the option
    was not given; UserErrors with all that is blank, there twice, too long or not text."""
    if texts is None:
        return None
    found: list[str] = []
    wrong: list[str] = []
    for text in texts:
        for part in [part.strip() for part in (text.split(",") if commas else [text])]:
            if not part:
                where = "nothing beside a comma" if text.strip(" ,") else "nothing"
                wrong.append(f"{option} was given {where} in {text[:50]!r}; name at least one, or leave {option} out.")
            elif len(part) > LONGEST:
                wrong.append(f"{option} was given a text of {len(part):,} characters, {part[:50]!r}...")
            elif _unwritable(part):
                wrong.append(f"{option} was given {printable(part)!r}, which is no UTF-8 text or has a NUL in it.")
            elif part in found:
                wrong.append(f"{option} names {part!r} twice; once is enough.")
            else:
                found.append(part)
    if wrong:
        raise UserErrors(wrong)
    return found


def _unwritable(text: str) -> bool:
    return any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text)
