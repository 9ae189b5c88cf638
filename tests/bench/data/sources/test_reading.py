"""Tables as people have them: separators, encodings, compression, JSON arrays; and files that are something else."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest

from tunefront.bench.data.sources.folder import load
from tunefront.bench.data.sources.limits import DEFAULT_BYTES, VARIABLE, Budget
from tunefront.bench.data.sources.reading import read_table
from tunefront.bench.data.sources.tables import Problems, Table
from tunefront.bench.errors import UserError

ROWS = [{"text": "a fine film", "label": "good"}, {"text": "a dull film", "label": "bad"}]
CSV = "text,label\na fine film,good\na dull film,bad\n"


def table(folder: Path, name: str, content: str | bytes) -> Table:
    """The table of a file of this name and content; UserErrors where it has any."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = Problems()
    read = read_table(file, problems)
    problems.raise_any()
    assert read is not None
    return read


def mistake(folder: Path, name: str, content: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        table(folder, name, content)
    return str(caught.value)


def records(folder: Path, name: str, content: str | bytes) -> list[dict[str, object]]:
    return table(folder, name, content).records


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", CSV),
        ("train.CSV", CSV),
        ("train.csv", CSV.replace("\n", "\r\n").encode("utf-8-sig")),
        ("train.csv", CSV.replace("\n", "\r")),
        ("train.csv", CSV.replace(",", ";")),
        ("train.csv", CSV.replace(",", "|")),
        ("train.csv", "sep=;\r\n" + CSV.replace(",", ";")),
        ("train.tsv", CSV.replace(",", "\t")),
        ("train.tsv", CSV),
        ("train.csv", CSV.replace(",", "\t").encode("utf-16")),
        ("train.csv", CSV.encode("utf-16-be")),
        ("train.csv", CSV.encode("utf-16-le")),
        ("train.csv", CSV.encode("utf-32")),
        ("train.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("train.tsv.gz", gzip.compress(CSV.replace(",", "\t").encode(), mtime=0) + gzip.compress(b"", mtime=0)),
        ("train.csv.gz", CSV),
        ("train.json", json.dumps(ROWS)),
        ("train.json", json.dumps(ROWS, indent=1).encode("utf-8-sig")),
        ("train.jsonl", json.dumps(ROWS)),
        ("train.json", json.dumps(ROWS).encode("utf-16")),
        ("train.json", json.dumps({"version": None, "data": ROWS})),
        ("train.json", json.dumps({"version": "1.1", "data": ROWS}, indent=1)),
        ("train.json", json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]})),
        ("train.json", json.dumps({name: {i: row[name] for i, row in enumerate(ROWS)} for name in ROWS[0]}, indent=1)),
        ("train.json", json.dumps(dict(enumerate(ROWS)))),
        ("train.json", "\n".join(map(json.dumps, ROWS))),
        ("train.csv", "\n\n" + CSV),
        ("train.csv", CSV + ",\n\n,\n"),
        ("train.csv", CSV.replace("good", "good,,")),
        ("train.csv", "\n" + CSV.replace(",", ";")),
        ("train.ndjson", "\r".join(map(json.dumps, ROWS))),
        ("train.jsonl.gz", gzip.compress("\n".join(map(json.dumps, ROWS)).encode(), mtime=0)),
        ("train.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("train.csv", ",text,label\n0,a fine film,good\n1,a dull film,bad\n"),
        ("train.csv", ",text,label\n9,a fine film,good\n3,a dull film,bad\n"),
        ("train.csv", "Unnamed: 0,text,label\n0,a fine film,good\n1,a dull film,bad\n"),
        ("train.csv", "text,label,,,\na fine film,good,,,\na dull film,bad,,,\n"),
        ("train.json", json.dumps([{"Unnamed: 0": i, **row} for i, row in enumerate(ROWS)])),
    ],
)
def test_a_table_is_read_however_it_was_saved(tmp_path: Path, name: str, content: str | bytes) -> None:
    read = table(tmp_path, name, content)
    assert read.records == ROWS
    assert read.columns == ("text", "label")


@pytest.mark.parametrize(
    ("name", "content", "facts"),
    [
        ("a.csv", CSV, []),
        ("a.csv", CSV.encode("utf-8-sig"), []),
        ("a.csv", CSV.replace(",", ";"), ["semicolons"]),
        ("a.csv", CSV.replace(",", "\t").encode("utf-16"), ["UTF-16", "tabs"]),
        ("a.csv", "text,label,,,\nx,good,,,\ny,bad,,,\n", ["3 unnamed empty columns"]),
        ("a.csv", "text,label,,\nx,good,more,\ny,bad,,\n", ["column 3", "1 rows", "1 unnamed empty column"]),
        ("a.csv", ",text,label\n4,x,good\n7,y,bad\n", ["column 1", "pandas' index"]),
        ("a.csv", "Unnamed: 0,text,label\n4,x,good\n7,y,bad\n", ["'Unnamed: 0'", "pandas' index"]),
        ("a.json", json.dumps({"rows": ROWS}), ["'rows'"]),
        ("a.csv", CSV + ",\n\n,\n", ["2 empty rows"]),
        ("a.csv", CSV + "\n\n", []),
        ("a.csv", "text,label\nle café,good\nx,bad\n".encode("cp1252"), ["line 2", "'é'", "Windows-1252"]),
    ],
)
def test_what_is_unusual_about_a_file_is_noted(tmp_path: Path, name: str, content: bytes, facts: list[str]) -> None:
    notes = table(tmp_path, name, content).notes
    assert bool(notes) == bool(facts)
    assert [fact for fact in facts if fact not in " / ".join(notes)] == []


def test_western_text_that_is_not_utf8_is_read_letter_by_letter(tmp_path: Path) -> None:
    text = "text,label\n“thé” £5 – naïve,good\nplain words in a second row,bad\n"
    assert records(tmp_path, "a.csv", text.encode("cp1252"))[0]["text"] == "“thé” £5 – naïve"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text,label\nПривет мир,good\n".encode("cp1251"), "line 2: byte 0xcf is not UTF-8"),
        ("text,label\nこんにちは,good\n".encode("shift-jis"), "line 2: byte 0x82"),
        ("text,label\ncafé naïve".encode() + b"\xe9,good\n", "line 2: byte 0xe9"),
        (b"text,label\na\x00b,good\n", "line 2: a NUL byte"),
        (CSV.encode("utf-16")[:-1], "UTF-16"),
    ],
)
def test_text_of_an_unknown_encoding_is_explained_and_no_advice_overwrites_it(
    tmp_path: Path, content: bytes, says: str
) -> None:
    said = mistake(tmp_path, "a.csv", content)
    assert f"a.csv{', ' if says.startswith('line') else ' starts as '}{says}" in said
    assert "mv " not in said


def test_the_separator_is_the_one_that_splits_every_row(tmp_path: Path) -> None:
    rows = records(tmp_path, "a.csv", "text, cleaned;label\na, b;good\nno comma;bad\n")
    assert rows == [{"text, cleaned": "a, b", "label": "good"}, {"text, cleaned": "no comma", "label": "bad"}]
    rows = records(tmp_path, "b.csv", "text, cleaned;label\na, b;good\nc, d;bad\n")
    assert list(rows[0]) == ["text, cleaned", "label"]
    rows = records(tmp_path, "c.csv", 'text,"a;b",label\nx; y,1,good\nz,2,bad\n')
    assert rows[0] == {"text": "x; y", "a;b": "1", "label": "good"}
    rows = records(tmp_path, "d.csv", "text\nall of it; a text\n")
    assert rows == [{"text": "all of it; a text"}]


def test_quotes_in_tsv_are_text_where_every_line_is_a_row_and_else_enclose_it(tmp_path: Path) -> None:
    bare = records(tmp_path, "a.tsv", 'text\tlabel\n"open\tgood\nclose"\tbad\n5" long\tbad\n')
    assert [row["text"] for row in bare] == ['"open', 'close"', '5" long']
    excel = records(tmp_path, "b.tsv", 'text\tlabel\n"two\nlines and a\ttab"\tgood\n"He said ""hi"""\tbad\n')
    assert [row["text"] for row in excel] == ["two\nlines and a\ttab", 'He said "hi"']


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n", "git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html><head><title>404", "HTML"),
        (b"<html lang=en>", "HTML"),
        (b"PAR1\x15\x04", "Parquet"),
        (gzip.compress(CSV.encode(), mtime=0), "gzip"),
        (b"BZh91AY&SY" + b"\0" * 40, "bzip2"),
        (b"\xfd7zXZ\x00\x00", "xz"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x80\x04\x95\x10\x00\x00", "pickle"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel"),
        (b"SQLite format 3\x00", "SQLite"),
    ],
)
@pytest.mark.parametrize("name", ["train.csv", "train.jsonl", "train.json", "train.tsv", "train.parquet", "a.arrow"])
def test_a_file_that_is_something_else_is_called_what_it_is(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    if (name, says) != ("train.parquet", "Parquet"):
        said = mistake(tmp_path, name, content)
        assert says in said
        assert name in said


@pytest.mark.parametrize(("member", "says"), [("xl/workbook.xml", "Excel workbook"), ("train.csv", "zip archive")])
def test_an_archive_is_distinguished_from_a_workbook(tmp_path: Path, member: str, says: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(member, CSV)
    assert says in mistake(tmp_path, "train.csv", packed.getvalue())


def test_a_pointer_within_gzip_is_found_too(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\n"
    assert "git lfs pull" in mistake(tmp_path, "train.csv.gz", gzip.compress(pointer, mtime=0))


@pytest.mark.parametrize("cut", [3, 12, -9])
def test_gzip_that_is_cut_off_is_explained(tmp_path: Path, cut: int) -> None:
    said = mistake(tmp_path, "train.csv.gz", gzip.compress(CSV.encode() * 9, mtime=0)[:cut])
    assert "train.csv.gz" in said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1, 2]", "row 1: expected a JSON object, got a int"),
        ('[{"text": "x"}, {"text": ', "not valid JSON"),
        pytest.param("[" * 100_000 + "]" * 100_000, "nested too deeply", id="deep"),
        pytest.param('[{"text": ' + "9" * 5000 + "}]", "4,300 digits", id="digits"),
        ('{"text": {"a": "x"}, "label": {"a": "y"}}', "columns, not rows ('text', 'label')"),
        ('{"text": ["x", "z"], "label": ["y"]}', "columns, not rows"),
        ('{"columns": ["text"], "index": [0, 1], "data": [["x"], ["y"]]}', "columns, not rows"),
        (r'[{"text": "\uD800"}]', r"row 1: '\ud800' is half of a surrogate pair"),
        ("null", "got a NoneType"),
        ("", "has no rows"),
        ("[]", "has no rows"),
    ],
)
def test_broken_json_is_explained(tmp_path: Path, content: str, says: str) -> None:
    for name in ("a.json", "a.jsonl"):
        assert says in mistake(tmp_path, name, content)


def test_many_blank_lines_take_no_longer_than_other_lines(tmp_path: Path) -> None:
    assert records(tmp_path, "a.jsonl", json.dumps(ROWS[0]) + "\n" * 300_000 + json.dumps(ROWS[1])) == ROWS


def test_gzip_around_parquet_is_reported_with_the_command_to_unpack_a_copy(tmp_path: Path) -> None:
    for name in ("train.parquet.gz", "train.parquet"):
        assert "gzip -dk" in mistake(tmp_path, name, gzip.compress(b"PAR1" * 20, mtime=0))


def test_one_object_is_one_row(tmp_path: Path) -> None:
    assert records(tmp_path, "a.jsonl", json.dumps(ROWS[0])) == ROWS[:1]
    assert records(tmp_path, "a.json", json.dumps(ROWS[0], indent=2)) == ROWS[:1]


def test_a_small_gzip_that_stands_for_much_is_refused_before_it_is_held(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "1000000")
    bomb = gzip.compress(b"text,label\n" + b"x" * 3_000_000, mtime=0)
    assert len(bomb) < 10_000
    for end in (bomb, bomb + gzip.compress(b"x", mtime=0)):  # the size at the end is that of the last part alone
        said = mistake(tmp_path, "train.csv.gz", end)
        assert VARIABLE in said
        assert "1 MB" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "a,b,c,d\n" + "1,2,3,4\n" * 9000), ("a.json", "[" + "{}," * 30_000 + "{}]"), ("a.csv", "x" * 2**20)],
    ids=["numbers", "objects", "text"],
)
def test_text_that_would_need_more_memory_than_is_allowed_is_refused(
    tmp_path: Path, monkeypatch, name: str, content: str
) -> None:
    monkeypatch.setenv(VARIABLE, "1000000")
    assert VARIABLE in mistake(tmp_path, name, content)
    monkeypatch.setenv(VARIABLE, "100000000")
    (tmp_path / name).write_text(content)
    assert VARIABLE not in str(read_table(tmp_path / name, problems := Problems())) + str(problems.found)


def test_the_limit_is_for_all_files_of_a_task_and_the_message_names_one_that_works(tmp_path: Path, monkeypatch) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(CSV + "x,good\n" * 1000)
    monkeypatch.setenv(VARIABLE, "20000")
    with pytest.raises(UserError, match=VARIABLE) as caught:
        load(str(tmp_path))
    monkeypatch.setenv(VARIABLE, str(caught.value).split(f"{VARIABLE}=")[1].split(";")[0])
    assert len(load(str(tmp_path)).splits["train"]) == 1002


@pytest.mark.parametrize("value", ["lots", "0", "-1", "1e9", "9" * 5000])
def test_a_limit_that_is_no_number_is_a_mistake(monkeypatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UserError, match=VARIABLE):
        Budget.from_environment()


def test_the_limit_has_a_default(monkeypatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert Budget.from_environment() == Budget(DEFAULT_BYTES)
