"""Valid files with a few odd places: texts by their words and lines, JSON by its values, bytes by their order."""

from __future__ import annotations

import copy
import json
import random
import re
from typing import Any

from tests.bench.records.test_fuzz import ODD as ODD_VALUES
from tests.fuzz.inputs import ODD as ODD_TEXTS

NUMBERS = ("0", "-1", "1e400", "nan", "-inf", "1.5", "9" * 40, "0x10", "true", "1_000", "007", "1" + "0" * 400)
WORDS = (
    "[]",
    "{}",
    '""',
    "[[",
    "]]",
    "null",
    "None",
    "*",
    "<",
    ">",
    "=",
    ":",
    ",",
    "#",
    "!",
    "&a",
    "*a",
    "!!python/x",
    "- ",
)
JINJA = (
    *(
        "{{ text }}",
        "{{ text | upper }}",
        "{% for a in range(10**9) %}x{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ 9**9**9 }}",
    ),
    *(
        "{{ text.__class__ }}",
        "{% include '/etc/passwd' %}",
        "{{ answer_choices[99] }}",
        "{% if text %}",
        "{{ }}",
        "|||",
    ),
    *(
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ lipsum(n=9999999) }}",
        "{% set x = x %}",
        "{# #}",
        "{% raw %}",
    ),
    *("{{ text | replace('', text * 99999) }}", "{{ range(10**9) | list }}", "{{ cycler.__init__.__globals__ }}"),
)
_TOKEN = re.compile(r"[\w.+-]+|[^\w\s]")


def text_of(generator: random.Random, whole: str, extra: tuple[str, ...] = ()) -> str:
    """A text with one to four changes: a word replaced, a line dropped, doubled or moved, characters inserted."""
    text = whole
    for _ in range(generator.choice((1, 1, 2, 4))):
        way = generator.choice(("word", "word", "word", "line", "double", "move", "insert", "cut", "nest"))
        lines = text.split("\n")
        place = generator.randrange(len(lines))
        if way == "word" and (found := list(_TOKEN.finditer(text))):
            token = generator.choice(found)
            text = text[: token.start()] + _odd(generator, token[0], extra) + text[token.end() :]
        elif way == "line":
            text = "\n".join(lines[:place] + lines[place + 1 :])
        elif way == "double":
            text = "\n".join([*lines[: place + 1], lines[place], *lines[place + 1 :]])
        elif way == "move":
            generator.shuffle(lines)
            text = "\n".join(lines)
        elif way == "insert":
            start = generator.randrange(len(text) + 1)
            text = text[:start] + _odd(generator, "", extra) + text[start:]
        elif way == "cut":
            text = text[: generator.randrange(len(text) + 1)]
        elif way == "nest" and generator.random() < 0.1:
            text += generator.choice("[{(") * generator.choice((200, 3_000, 100_000))
    return text


def _odd(generator: random.Random, instead: str, extra: tuple[str, ...]) -> str:
    pools: list[tuple[str, ...]] = [
        NUMBERS,
        WORDS,
        ODD_TEXTS,
        (f'"{instead}"', instead * 2, f"[{instead}]", instead[::-1], "x" * 5000),
    ]
    if extra:
        pools += [extra, extra]
    return generator.choice(generator.choice(pools))


def json_of(generator: random.Random, whole: Any, keep: tuple[str, ...] = ()) -> Any:
    """A JSON value with a few odd values, at any depth; the named top keys stay."""
    content = copy.deepcopy(whole)
    for _ in range(generator.choice((1, 1, 2, 3))):
        place: Any = content
        name = generator.choice([key for key in place if key not in keep])
        while isinstance(place[name], dict) and place[name] and generator.random() < 0.7:
            place = place[name]
            name = generator.choice(list(place))
        if generator.random() < 0.1:
            del place[name]
        else:
            place[name] = copy.deepcopy(generator.choice((*ODD_VALUES, *ODD_TEXTS, "x" * 100_000)))
        if not content or set(content) <= set(keep):
            break
    return content


def bytes_of(generator: random.Random, whole: bytes) -> bytes:
    """Bytes of which a few are gone, doubled or replaced."""
    content = bytearray(whole)
    for _ in range(generator.randint(1, 4)):
        start = generator.randrange(len(content) + 1)
        content[start : start + generator.choice((0, 1, 1, 8, 500, 10**6))] = generator.randbytes(
            generator.choice((0, 1, 3, 9))
        )
    return bytes(content)


def json_text(generator: random.Random, whole: Any, keep: tuple[str, ...] = ()) -> bytes:
    """The text of a JSON value: odd values mostly, else damaged bytes, else another encoding."""
    text = json.dumps(json_of(generator, whole, keep))
    content = text.encode("utf-8", "surrogatepass")
    if generator.random() < 0.15:
        return bytes_of(generator, content)
    return text.encode("utf-16", "surrogatepass") if generator.random() < 0.03 else content
