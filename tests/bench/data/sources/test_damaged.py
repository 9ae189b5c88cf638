"""Files that were damaged at random: whatever is in them, a task is read or a UserError says what is wrong."""

from __future__ import annotations

import gzip
import io
import json
import random
from functools import cache
from pathlib import Path

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from tunefront.bench.data.sources.folder import load
from tunefront.bench.errors import UserError

ROWS = [{"text": f"film {i}, seen", "label": "good" if i % 2 else "bad", "n": i, "l": ["a"]} for i in range(20)]
CSV = "text,label,n\n" + "".join(f'"{row["text"]}",{row["label"]},{row["n"]}\n' for row in ROWS)
META = {
    "label_names": ["bad", "good"],
    "label_field": "label",
    "input_fields": ["text"],
    "metrics": ["accuracy", {"name": "f1", "labels": ["good"]}],
    "task_type": "classification",
}
SCRAPS = (
    *(b"\x00", b"\xff", b'"', b",", b";", b"\n", b"\r", b"\t", b"{", b"}", b"[", b"]", b"\\u", b"\\ud800", b"9" * 5000),
    *(b"-1", b"NaN", b"Infinity", b"1e999", b"null", b"\xe9", "é".encode(), b"\xef\xbb\xbf", b"\xff\xfe", b"sep=;\n"),
    *(b"[" * 5000, b"PAR1", b"\x1f\x8b", b"version https://git-lfs.github.com/spec/v1\n"),
)


@cache
def whole_files() -> dict[str, bytes]:
    """Name -> content of files that can be read."""
    table = pyarrow.Table.from_pylist(ROWS)
    parquet, feather, arrow = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pyarrow.parquet.write_table(table, parquet)
    pyarrow.feather.write_feather(table, feather)
    with pyarrow.ipc.new_stream(arrow, table.schema) as stream:
        stream.write_table(table)
    lines = "\n".join(map(json.dumps, ROWS)).encode()
    return {
        "train.parquet": parquet.getvalue(),
        "train.feather": feather.getvalue(),
        "train.arrow": arrow.getvalue(),
        "train.csv": CSV.encode(),
        "train.tsv": CSV.replace(",", "\t").encode("utf-16"),
        "train.jsonl": lines,
        "train.json": json.dumps(ROWS).encode(),
        "train.csv.gz": gzip.compress(CSV.encode(), mtime=0),
        "train.json.gz": gzip.compress(json.dumps(ROWS).encode(), mtime=0),
        "meta.json": json.dumps(META).encode(),
    }


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with one to eight bytes changed, scraps put in, parts cut out or doubled, or the end cut off."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        place, other = chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
        how = chance.random()
        if how < 0.35 and data:
            data[place % len(data)] = chance.randrange(256)
        elif how < 0.6:
            data[place:place] = chance.choice(SCRAPS)
        elif how < 0.75:
            del data[place : place + chance.choice((1, 2, 10, len(data)))]
        elif how < 0.9:
            data[place:place] = data[other : other + chance.choice((1, 5, 50))]
        else:
            del data[place:]
    return bytes(data)


@pytest.mark.parametrize("name", whole_files())
def test_a_damaged_file_is_read_or_explained(tmp_path: Path, name: str) -> None:
    read, messages = 0, []
    for number in range(60):
        chance = random.Random(f"{name} {number}")  # a text's hash is the same in every process here
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "test.csv").write_text(CSV)
        if name == "meta.json":
            (folder / "train.csv").write_text(CSV)
        content = whole_files()[name]
        (folder / name).write_bytes(damaged(content, chance) if number else content)
        try:
            load(str(folder))
            read += 1
        except UserError as error:
            messages.append(str(error))
    assert all(str(tmp_path) in said for said in messages)
    assert max(len(line) for said in messages for line in said.splitlines()) < 2500
    assert 0 < read < 60
