"""Scripts and languages of the texts: scripts by the Unicode names of letters, languages by frequent short words."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunefront.bench.check.findings import Finding
from tunefront.bench.check.samples import sample
from tunefront.bench.data.reading import count

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

MOST_ROWS = 5000
"""Rows that are looked at, of all splits together."""
_LONGEST = 400
"""Characters of a text that are looked at."""
_TEXTS = {
    "English": "the and of to is in that it for was with this you are not be have on at but they i a do me my no so an "
    "as am we he she her his how what why can will if or from there would when your by all has had were so one been",
    "German": "der die und das nicht ist ich mit ein eine den von zu auf für sich es dem auch wie wir aber sind hat",
    "French": "le la les et des est un une dans pour que pas je il sur du ce qui au avec plus sont nous vous mais",
    "Spanish": "el la los de que y en un una es por con no para se las del lo muy pero más este como está",
    "Italian": "il di che è la un una per non con sono del gli della anche più ma le si nel questo mi ho lo",
    "Portuguese": "o a de que e do da um uma não para com em os por mais mas muito foi é no na se ao",
    "Dutch": "de het een en van is niet dat ik op te zijn voor met die maar ook aan er deze wordt naar",
    "Polish": "nie się w i na jest to z do że jak ale po tak co o od za już są czy dla tylko mnie",
    "Turkish": "bir ve bu için de da çok ne gibi daha ama olarak ile var en kadar sonra ben her değil",
    "Swedish": "och att det som en på är av för med den till inte har jag om ett men var de från kan",
}
"""Language -> frequent words."""
_ENGLISH = frozenset(_TEXTS["English"].split())
_WORDS: Mapping[str, frozenset[str]] = {
    name: frozenset(words.split()) - (frozenset() if name == "English" else _ENGLISH) for name, words in _TEXTS.items()
}
"""The same; what is an English word too says nothing for another language."""
_FEWEST_WORDS, _LEAD = 3, 2
"""Frequent words that a text needs to show its language, and how many more than of the next one."""
_SOME, _FEWEST = 0.01, 5
"""Share and number of rows from which another script or language is reported."""
_ENGLISH_ONLY = "minilm"


def language_findings(task: Task, backbone: str | None) -> tuple[dict[str, Any], list[Finding]]:
    """(facts, findings): `scripts` and `languages`, name -> share of the rows in which it prevails, of a sample."""
    rows = sample([row for split in task.splits.values() for row in split], MOST_ROWS)
    texts = [(row, " ".join(task.texts(row))[:_LONGEST]) for row in rows]
    scripts = [(row, script) for row, text in texts if (script := script_of(text))]
    languages = [(row, language) for row, text in texts if (language := language_of(text))]
    facts = {"scripts": _shares(scripts), "languages": _shares(languages)}
    findings = [*_mixed("scripts", scripts, len(rows)), *_mixed("languages", languages, len(rows))]
    main = next(iter(facts["languages"]), None) if len(languages) >= _SOME * len(rows) else None
    script = next(iter(facts["scripts"]), "Latin")
    if backbone == _ENGLISH_ONLY and (script != "Latin" or (main not in (None, "English"))):
        what = main if script == "Latin" else f"{script} letters"
        text = f"most texts are in {what}; {backbone} was trained on English"
        findings.append(Finding("backbone", "warning", text, "Give a multilingual model with --backbone."))
    return facts, findings


def script_of(text: str) -> str | None:
    """The script of most letters; Japanese for Kana with Chinese characters; None without letters.

    >>> script_of("Привет, world!"), script_of("これは本"), script_of("12 :-)")
    ('Cyrillic', 'Japanese', None)
    """
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else None
    counts = Counter(script for letter in text if (script := _script(letter)))
    if counts["Japanese"] * 5 > counts["Chinese"]:
        counts["Japanese"] += counts.pop("Chinese", 0)
    counts = +counts
    return counts.most_common(1)[0][0] if counts else None


@functools.cache
def _script(letter: str) -> str | None:
    if not letter.isalpha():
        return None
    name = unicodedata.name(letter, "").split(" ")[0].split("-")[0]
    known = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "FULLWIDTH": "Latin", "HALFWIDTH": None,
             "MATHEMATICAL": None, "MODIFIER": None, "FEMININE": None, "MASCULINE": None, "DOUBLE": None,
             "SCRIPT": None}  # fmt: skip
    return known.get(name, name.capitalize()) or None


def language_of(text: str) -> str | None:
    """The language whose frequent words prevail; None if there are too few of them, or as many of another.

    >>> language_of("Das ist nicht der Film, den ich mag"), language_of("good film")
    ('German', None)
    """
    words = [word.strip(".,;:!?\"'()") for word in text.lower().split()]
    counts = Counter({name: sum(word in known for word in words) for name, known in _WORDS.items()})
    (best, most), (_, next_most) = counts.most_common(2)
    return best if most >= _FEWEST_WORDS and most - next_most >= _LEAD else None


def _shares(found: list[tuple[Row, str]]) -> dict[str, float]:
    counts = Counter(name for _, name in found).most_common()
    return {name: times / len(found) for name, times in counts}


def _mixed(what: str, found: list[tuple[Row, str]], rows: int) -> list[Finding]:
    """A note if another script or language than the first has some rows."""
    (main, _), *others = Counter(name for _, name in found).most_common() or [("", 0)]
    others = [(name, times) for name, times in others if times >= max(_FEWEST, _SOME * len(found))]
    if not others:
        return []
    row = next(row for row, name in found if name == others[0][0])
    listed = ", ".join(f"{name} {times:,}" for name, times in others[:4])
    text = (
        f"{what} are mixed: most of {count(rows, 'row')} are {main}, but {listed} (as row {row.id})"
        if what == "languages"
        else f"{what} are mixed: most of {count(rows, 'row')} are in {main} letters, but {listed} (as row {row.id})"
    )
    return [Finding(what, "note", text, "Check that the backbone reads them.", sum(n for _, n in others), row.id)]
