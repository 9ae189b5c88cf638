"""Strategies: files of rows, meta.json, config.json and spelled methods, from nearly right to noise."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from hypothesis import strategies as st

LABELS = ("neg", "pos", "0", "1", "1.0", "01", "-1", "", " pos", "2,5", "['a', 'b']", "a|b", "nan", "1e400", "9" * 5000)
ODD = (
    "",
    " ",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\ufeff",
    "=cmd|' /C calc'!A0",
    "{{ 7*7 }}",
    '"',
    "'",
    "\\",
    "é",
    "e\u0301",
    "😀",
)

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(ODD),
    st.text("abc xyz,;\t\"'\n", max_size=40),
    st.integers().map(str),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.sampled_from([10**400, -(2**63), 1e308, "9" * 5000])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
names = st.one_of(
    st.sampled_from(
        ["text", "label", "labels", "sentence", "id", "idx", "endings", "choices", "a\x1b[31mb", "label_text"]
    ),
    st.text(max_size=12),
)


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records of a task: in half of them nothing is wrong but what a column of their own may hold."""
    sound = draw(st.sampled_from((True, True, True, False)))
    columns = draw(st.lists(names.filter(lambda name: name not in ("text", "label")), max_size=2, unique=True))
    makes = [
        draw(st.sampled_from((texts, scalars, values, st.just("same"), st.lists(texts, min_size=2)))) for _ in columns
    ]
    labels = ["neg", "pos"]
    if not sound or draw(st.integers(0, 3)) == 0:
        labels = draw(st.lists(st.one_of(st.sampled_from(LABELS), scalars, values), min_size=1, max_size=3))
    size = draw(st.integers(4, 9)) if sound else draw(st.integers(0, 5))
    return [
        {"text": f"words {row}" if sound else draw(st.one_of(st.just(f"words {row}"), values))}
        | {name: draw(make) for name, make in zip(columns, makes, strict=True)}
        | {"label": labels[row % len(labels)]}
        for row in range(size)
    ]


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes, in a third of the cases with a few of them gone, doubled or replaced."""
    data = bytearray(whole)
    for _ in range(draw(st.sampled_from((0, 0, 0, 0, 1, 3)))):
        place = draw(st.integers(0, len(data)))
        what = draw(st.sampled_from(("cut", "insert", "drop", "double")))
        if what == "cut":
            del data[place:]
        elif what == "insert":
            marks = [b'"', b",", b"\n", b"\x00", b"{", b"["]
            data[place:place] = draw(st.one_of(st.binary(max_size=6), st.sampled_from(marks)))
        elif what == "drop":
            del data[place : place + draw(st.integers(1, 9))]
        else:
            data += data[place:]
    return bytes(data)


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """A CSV file in some dialect and encoding."""
    found = draw(rows())
    written = io.StringIO(newline="")
    columns = list(dict.fromkeys(name for row in found for name in row)) or ["text", "label"]
    mark = draw(st.sampled_from((",", ";", "\t", "|")))
    writer = csv.writer(written, delimiter=mark, lineterminator=draw(st.sampled_from(("\n", "\r\n"))))
    writer.writerow(columns)
    writer.writerows([[row.get(name) for name in columns] for row in found])
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-32")))
    return draw(damaged(written.getvalue().encode(encoding, "replace")))


@st.composite
def jsonl_files(draw: st.DrawFn) -> bytes:
    """JSON Lines, or an array in one line."""
    found = [json.dumps(row) for row in draw(rows())]
    text = f"[{', '.join(found)}]" if draw(st.integers(0, 5)) == 0 else "\n".join(found) + "\n"
    if draw(st.integers(0, 30)) == 0:
        text += "[" * 50_000
    return draw(damaged(text.encode("utf-8", "surrogatepass")))


META = (
    "task_type",
    "label_names",
    "label_field",
    "input_fields",
    "choices_field",
    "metrics",
    "id2label",
    "label2id",
    "labelnames",
    "name",
)
meta_values = st.one_of(
    values,
    st.sampled_from(["classification", "regression", "multiple choice", "accuracy", "label", "text", "pearson"]),
    st.lists(
        st.sampled_from(["neg", "pos", "text", "label", "accuracy", "f1", {"name": "f1", "labels": ["pos"]}]),
        max_size=3,
    ),
    st.just({"0": "neg", "1": "pos"}),
)
metas = st.one_of(
    st.dictionaries(st.one_of(st.sampled_from(META), st.text(max_size=8)), meta_values, max_size=4).map(json.dumps),
    values.map(json.dumps),
    st.sampled_from(
        ['{"label_names": ' + "[" * 20_000, '{"a": 1, "a": 2}', "\ufeff{}", "", "{'label_names': []}", "9" * 5000]
    ),
).flatmap(lambda text: damaged(text.encode("utf-8", "surrogatepass")))


def configs(whole: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """A model's config.json with some of its values replaced, or damaged."""
    keys = st.one_of(
        st.sampled_from(sorted(whole)),
        st.sampled_from(
            [
                "is_decoder",
                "return_dict",
                "torchscript",
                "quantization_config",
                "auto_map",
                "rope_scaling",
                "layer_types",
                "torch_dtype",
            ]
        ),
        st.text(max_size=10),
    )
    numbers = st.sampled_from([0, -1, 1, 3, 7, 10**6, 10**18, 1.5, "12", "", True, None, [], {}])
    changed = st.dictionaries(keys, st.one_of(numbers, values), max_size=3)
    dropped = st.lists(st.sampled_from(sorted(whole)), max_size=2)
    made = st.builds(
        lambda change, drop: json.dumps(
            {name: value for name, value in {**whole, **change}.items() if name not in drop}
        ),
        changed,
        dropped,
    )
    return st.one_of(made.map(str.encode), made.map(str.encode).flatmap(damaged))


_PARTS = (
    "houlsby ia3 full features icl top_layers lora bottleneck n k std start : = , ( ) ' 8 -1 1e999 nan True [8,64] *"
)
_parts = st.sampled_from([*_PARTS.split(), "file.py", "/dev/null", "..", "~nobody", "9" * 5000, "\x00", " "])
spellings = st.one_of(
    st.builds("houlsby:bottleneck={}".format, st.integers(-2, 99)),
    st.sampled_from(["full", "ia3", "features", "top_layers:n=1", "houlsby(bottleneck=8)", "icl:k=2", "Full", " ia3 "]),
    st.lists(st.one_of(_parts, st.text(max_size=4)), max_size=9).map("".join),
    st.builds(
        "houlsby:{}={}".format, st.sampled_from(["bottleneck", "std", "x", ""]), st.one_of(texts, scalars.map(str))
    ),
    st.text(max_size=30),
)
