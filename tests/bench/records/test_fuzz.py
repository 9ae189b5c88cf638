"""Any file content is a record or one of three errors, and a report can be made from any record."""

from __future__ import annotations

import copy
import itertools
import json
import random
from typing import Any

import pytest

from tests.reports.factory import ledger, record
from tunefront.bench.errors import UserError
from tunefront.bench.records import CorruptRecord, OtherCell, OtherVersion, Record, parse_record
from tunefront.reports.formats import csvs, latex, markdown
from tunefront.reports.sections import document

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 10**39, 1e39, 1e308, -0.0, 1e-320, "", "x", "\x1b[2J", "=1+1", "\u202e", "x" * 3000),
    *([], [[]], [1], ["a"], {}, {"": 0}, {"a": None}, {"a": {"b": 1}}, {"load": {"kv_cache": 5}}, {"x": {"y": 3}}),
    *({"accuracy": 0.0}, {"accuracy": None}, {"forward": {"counted": 0}}, {"data": {"median": 0, "low": 0, "high": 0}}),
)
WHOLE: dict[str, Any] = json.loads(ledger(record(label="ia3")).model_dump_json())


def changed(rng: random.Random) -> str:
    """A record's JSON with a few odd values, at any depth."""
    content = copy.deepcopy(WHOLE)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place: Any = content
        name = rng.choice(list(place))
        while isinstance(place[name], dict) and place[name] and rng.random() < 0.7:
            place, name = place[name], rng.choice(list(place[name]))
        if name != "key":
            place[name] = copy.deepcopy(rng.choice(ODD))
    return json.dumps(content)


def read(content: bytes, messages: list[str]) -> Record | None:
    try:
        return parse_record(content, f"{WHOLE['key']}.json")
    except (CorruptRecord, OtherCell, OtherVersion) as error:
        messages.append(str(error))
        return None


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes_are_a_record_or_an_error(seed: int) -> None:
    rng = random.Random(seed)
    whole, messages = json.dumps(WHOLE).encode(), []  # type: tuple[bytes, list[str]]
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            start = rng.randrange(len(content))
            content[start : start + rng.choice((0, 1, 1, 8, 500))] = rng.randbytes(rng.choice((0, 1, 3)))
        read(bytes(content), messages)
        read(changed(rng).encode(), messages)
    assert max(map(len, messages)) < 1000


@pytest.mark.parametrize("seed", range(4))
def test_any_record_that_can_be_read_can_be_reported_on(seed: int) -> None:
    rng = random.Random(seed)
    made = (read(changed(rng).encode(), []) for _ in range(500))
    for odd in itertools.islice((odd for odd in made if odd is not None), 12):
        try:
            report = document.compose([record(), ledger(record(seed=1)), odd])
        except UserError:  # they do not compare
            continue
        for write in (csvs.records, csvs.summary, csvs.ledgers, latex.render):
            write(report)
        markdown.render(report, [[] for _ in report.pages])
