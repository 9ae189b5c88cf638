"""One file of one's own as a task: files as people have them, each by its path alone; guesses; and bad input."""

from __future__ import annotations

import bz2
import gc
import gzip
import json
import lzma
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from tunefront.bench.data.sampling import selects_on_validation
from tunefront.bench.data.sources import load_task
from tunefront.bench.data.sources.own_names import names_of
from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError

ADJECTIVES = ["fine", "dull", "sound", "odd", "messy", "tidy", "rude", "kind", "broken", "useful"]
NOUNS = ["driver", "ticket", "manual", "screen", "hotel", "waiter", "parcel"]
ROWS = 60


def sentence(number: int) -> str:
    return f"the {NOUNS[number % 7]} number {number} was {ADJECTIVES[number % 10]} and {ADJECTIVES[number * 3 % 10]}"


def lines(header: str, make: object, rows: int = ROWS) -> str:
    assert callable(make)
    return "".join(f"{line}\n" for line in ([header] if header else []) + [make(number) for number in range(rows)])


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def task(path: object, **options: object) -> Task:
    (name,) = names_of([path], options)
    return load_task(name)


def mistake(path: object, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        task(path, **options)
    text = str(caught.value)
    assert "\n" not in text, "one paragraph"
    assert "meta.json" not in text
    return text


def says(read: Task) -> str:
    return "; ".join(read.notes)


def csv_file(
    folder: Path, rows: int = ROWS, name: str = "tickets.csv", classes: Sequence[str] = ("bad", "good")
) -> Path:
    make = lambda i: f'{i},c{i % 9},"Ticket {i}","{sentence(i)}",{classes[i % len(classes)]}'  # noqa: E731
    return put(folder, name, lines("ticket_id,customer,title,review,sentiment", make, rows))


def test_sick_is_pairs_in_the_splits_of_its_column(tmp_path: Path) -> None:
    sets, labels = ("TRAIN", "TRIAL", "TEST"), ("NEUTRAL", "ENTAILMENT", "CONTRADICTION")
    row = lambda i: f"{i}\t{sentence(i)}\t{sentence(i + 90)}\t{1 + i % 40 / 10}\t{labels[i % 3]}\t{sets[i // 20]}"  # noqa: E731
    path = put(
        tmp_path, "SICK.txt", lines("pair_ID\tsentence_A\tsentence_B\trelatedness\tentailment\tSemEval_set", row)
    )
    read = task(path)
    assert read.input_fields == ("sentence_A", "sentence_B")
    assert read.label_names == tuple(sorted(labels))
    assert {split: len(rows) for split, rows in read.splits.items()} == {"train": 20, "validation": 20, "test": 20}
    assert "pairs" in says(read)
    assert "'SemEval_set'" in says(read)


def test_the_other_label_of_sick_is_one_option_away(tmp_path: Path) -> None:
    row = lambda i: f"{sentence(i)}\t{sentence(i + 90)}\t{1 + i % 40 / 10}\t{('NO', 'YES')[i % 2]}"  # noqa: E731
    path = put(tmp_path, "SICK.txt", lines("sentence_A\tsentence_B\trelatedness\tentailment", row))
    read = task(path, label="relatedness")
    assert read.kind == "regression"
    assert read.input_fields == ("sentence_A", "sentence_B")


def test_financial_phrases_are_read_without_a_header(tmp_path: Path) -> None:
    row = lambda i: f'"Jyväskylä" , {"and, " * (i % 3)}{sentence(i)} .@{("positive", "neutral", "negative")[i % 3]}'  # noqa: E731
    read = task(put(tmp_path, "Sentences_AllAgree.txt", lines("", row).encode("latin-1")))
    assert read.label_names == ("negative", "neutral", "positive")
    assert sum(map(len, read.splits.values())) == ROWS
    assert read.splits["train"][0].fields["column 1"].startswith('"Jyväskylä"')  # type: ignore[union-attr]


@pytest.mark.parametrize("labelled", [True, False])
def test_a_test_file_is_scored_only_if_it_has_labels(tmp_path: Path, labelled: bool) -> None:
    row = lambda i: f'{i},fire,"New York, USA","{sentence(i)}",{i % 2}'  # noqa: E731
    train = put(tmp_path, "train.csv", lines("id,keyword,location,text,target", row))
    hidden = lambda i: f'{i},,,"{sentence(i + 500)}"{",1" if labelled else ""}'  # noqa: E731
    test = put(tmp_path, "test.csv", lines(f"id,keyword,location,text{',target' if labelled else ''}", hidden, 10))
    read = task(train, test=str(test))
    assert read.input_fields == ("text",)
    assert {split: len(rows) for split, rows in read.splits.items()} == (
        {"train": ROWS, "test": 10} if labelled else {"train": 48, "test": 12}
    )
    assert ("test left out" in says(read)) != labelled


def test_spam_has_nameless_columns_and_an_encoding_of_its_own(tmp_path: Path) -> None:
    row = lambda i: f'{("ham", "spam")[i % 5 == 0]},"{sentence(i)} for £{i}",,,'  # noqa: E731
    read = task(put(tmp_path, "spam.csv", lines("v1,v2,,,", row).encode("latin-1")))
    assert (read.input_fields, read.label_names) == (("v2",), ("ham", "spam"))


def test_clinc_is_an_object_of_splits(tmp_path: Path) -> None:
    sizes = {"train": 40, "val": 20, "test": 20, "oos_train": 10, "oos_val": 10, "oos_test": 5}
    content = {
        key: [[sentence(100 * place + i), "oos" if "oos" in key else f"intent_{i % 10}"] for i in range(size)]
        for place, (key, size) in enumerate(sizes.items())
    }
    read = task(put(tmp_path, "data_full.json", json.dumps(content)))
    assert {split: len(rows) for split, rows in read.splits.items()} == {"train": 50, "validation": 30, "test": 25}
    assert len(read.label_names) == 11


def test_excel_exports_with_semicolons_and_decimal_commas_are_a_regression(tmp_path: Path) -> None:
    row = lambda i: f"{i};{sentence(i)}, bitte;{i % 17},{i % 9}5"  # noqa: E731
    read = task(put(tmp_path, "export.csv", "\ufeff" + lines("Nr;Beschreibung;Preis", row)))
    assert (read.kind, read.input_fields) == ("regression", ("Beschreibung",))
    assert {row.label for rows in read.splits.values() for row in rows} >= {0.05, 1.15}


def test_an_array_of_objects_has_150_classes(tmp_path: Path) -> None:
    rows = [{"text": sentence(i), "intent": f"intent {i % 150}"} for i in range(450)]
    read = task(put(tmp_path, "array.json", json.dumps(rows)))
    assert len(read.label_names) == 150
    assert (len(read.splits["train"]), len(read.splits["test"])) == (360, 90)


@pytest.mark.parametrize(
    ("header", "label"),
    [
        ("A,B,C,D", lambda i: "ABCD"[i % 4]),
        ("option_a,option_b,option_c,option_d", lambda i: "ABCD"[i % 4]),
        ("choice1,choice2,choice3,choice4", lambda i: i % 4),
        ("choice1,choice2,choice3,choice4", lambda i: i % 4 + 1),
        ("A,B,C,D", lambda i: f"{('one', 'two', 'three', 'four')[i % 4]} {i}"),
    ],
)
def test_answers_in_columns_are_multiple_choice(tmp_path: Path, header: str, label: object) -> None:
    assert callable(label)
    row = lambda i: f"Which is it in case {i}?,one {i},two {i},three {i},four {i},{label(i)}"  # noqa: E731
    read = task(put(tmp_path, "choice.csv", lines(f"question,{header},answer", row)))
    assert (read.kind, read.input_fields) == ("multiple choice", ("question",))
    assert read.label_names == tuple(header.split(","))
    rows = [row for rows in read.splits.values() for row in rows]
    assert all(row.label == int(row.id) % 4 for row in rows)


def test_two_numbered_sentences_are_a_pair_and_no_answers(tmp_path: Path) -> None:
    row = lambda i: f"{sentence(i)},{sentence(i + 90)},{i % 2}"  # noqa: E731
    read = task(put(tmp_path, "pairs.csv", lines("sentence1,sentence2,label", row)))
    assert (read.kind, read.input_fields) == ("classification", ("sentence1", "sentence2"))


def test_whole_numbers_of_many_values_are_a_regression_unless_said_otherwise(tmp_path: Path) -> None:
    path = put(tmp_path, "scores.csv", lines("text,score", lambda i: f"{sentence(i)},{i % 30 * 3}"))
    assert task(path).kind == "regression"
    assert task(path, kind="classification").kind == "classification"


def test_guesses_are_said_with_the_options_that_change_them(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    assert "--text, --label and --split" in says(task(path))
    given = task(path, label="sentiment", text=["review,title"], split="0.3")
    assert given.input_fields == ("review", "title")
    assert "guessed" not in says(given)


def test_a_column_is_named_by_its_place_too(tmp_path: Path) -> None:
    read = task(csv_file(tmp_path), label="5", text=["3", "4"])
    assert read.input_fields == ("title", "review")


def test_columns_with_commas_and_marks_in_their_names_are_named(tmp_path: Path) -> None:
    path = put(tmp_path, "a?b&c=d%3F.csv", lines('"text, clean","mood=a&b?"', lambda i: f"{sentence(i)},{i % 2}"))
    read = task(path, text=["text, clean"], label="mood=a&b?")
    assert read.input_fields == ("text, clean",)
    assert load_task(read.name).fingerprint == read.fingerprint


def test_ids_come_from_the_column_of_ids(tmp_path: Path) -> None:
    path = put(tmp_path, "t.csv", lines("ticket,text,label", lambda i: f"T-{i},{sentence(i)},{i % 2}"))
    read = task(path, id="ticket")
    assert read.splits["train"][0].id.startswith("T-")
    assert "occurs twice" in mistake(csv_file(tmp_path), id="customer")


def test_the_split_and_its_share_are_in_the_fingerprint(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    prints = {task(path).fingerprint, task(path, split="0.3").fingerprint, task(path, group="customer").fingerprint}
    assert len(prints) == 3
    assert task(path, split="20%").fingerprint == task(path).fingerprint


def test_another_column_changes_nothing_that_is_read(tmp_path: Path) -> None:
    rows = [{"text": sentence(i), "label": i % 2} for i in range(ROWS)]
    plain = put(tmp_path, "a.json", json.dumps(rows))
    more = put(tmp_path, "b.json", json.dumps([{**row, "price": place} for place, row in enumerate(rows)]))
    assert task(plain).fingerprint == task(more).fingerprint


def test_a_column_that_reveals_the_label_is_named_with_the_option_that_leaves_it_out(tmp_path: Path) -> None:
    row = lambda i: f"{sentence(i)},filed under number {i % 2},{('bad', 'good')[i % 2]}"  # noqa: E731
    path = put(tmp_path, "t.csv", lines("text,note,label", row))
    assert task(path).input_fields == ("text",)
    (warning,) = task(path, text=["text,note"]).warnings
    assert "'note'" in warning
    assert "--text" in warning
    assert "meta.json" not in warning


def test_rows_without_a_label_or_text_are_left_out_and_counted(tmp_path: Path) -> None:
    text = lines("text,label", lambda i: f"{sentence(i)},{i % 2}") + "no label at all here,\n,1\n"
    read = task(put(tmp_path, "t.csv", text))
    assert sum(map(len, read.splits.values())) == ROWS
    assert "1 train row without a label left out" in says(read)
    assert "1 train row without text left out" in says(read)


def test_a_folder_with_train_alone_is_split(tmp_path: Path) -> None:
    csv_file(tmp_path / "data", name="train.csv")
    read = task(tmp_path / "data")
    assert (len(read.splits["train"]), len(read.splits["test"])) == (48, 12)
    with pytest.raises(UserError, match="--data"):
        load_task(f"dir:{tmp_path / 'data'}")


def test_a_folder_with_splits_is_the_same_task_as_dir(tmp_path: Path) -> None:
    for split, start in (("train", 0), ("test", 100)):
        put(tmp_path, f"{split}.csv", lines("text,label", lambda i, start=start: f"{sentence(start + i)},{i % 2}"))
    actual, expected = task(tmp_path), load_task(f"dir:{tmp_path}")
    assert actual.input_fields == expected.input_fields
    assert [[(row.id, row.label) for row in rows] for rows in actual.splits.values()] == [
        [(row.id, row.label) for row in rows] for rows in expected.splits.values()
    ]


def test_a_folder_that_describes_its_task_is_read_as_dir(tmp_path: Path) -> None:
    for split, start in (("train", 0), ("test", 100)):
        put(tmp_path, f"{split}.csv", lines("text,mood", lambda i, start=start: f"{sentence(start + i)},{i % 2}"))
    put(tmp_path, "meta.json", '{"label_field": "mood", "label_names": ["bad", "good"]}')
    assert task(tmp_path).fingerprint == load_task(f"dir:{tmp_path}").fingerprint


def test_a_share_and_test_rows_contradict(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    test = csv_file(tmp_path, name="more.csv")
    assert "--split 0.3" in mistake(path, test=str(test), split="0.3")


def test_an_archive_is_read_by_what_is_in_it(tmp_path: Path) -> None:
    rows = [{"text": sentence(i), "label": i % 2} for i in range(ROWS)]
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("rows.json", json.dumps(rows))
    assert task(tmp_path / "archive.zip").input_fields == ("text",)


def test_a_folder_with_one_other_file_is_that_file(tmp_path: Path) -> None:
    csv_file(tmp_path)
    assert task(tmp_path).fingerprint == task(tmp_path / "tickets.csv").fingerprint
    csv_file(tmp_path / "two", name="more.csv")
    csv_file(tmp_path / "two")
    assert "more.csv, tickets.csv" in mistake(tmp_path / "two")


def test_a_plain_path_and_dir_of_a_file_are_the_task_of_the_file(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    prints = {load_task(f"{source}{path}").fingerprint for source in ("", "dir:", "file:")}
    assert prints == {task(path).fingerprint}


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst", ".zip"])
def test_compressed_files_are_read(tmp_path: Path, suffix: str) -> None:
    path = csv_file(tmp_path)
    packed = tmp_path / f"tickets.csv{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(path, "tickets.csv")
    elif suffix == ".zst":
        import pyarrow

        with pyarrow.CompressedOutputStream(str(packed), "zstd") as stream:
            stream.write(path.read_bytes())
    else:
        packed.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].compress(path.read_bytes()))  # type: ignore[attr-defined]
    assert task(packed).fingerprint == task(path).fingerprint


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst", ".zip"])
def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path, suffix: str, monkeypatch) -> None:
    path = put(tmp_path, "a.csv", "text,label\n" + "a" * 2**22 + ",1\n")
    monkeypatch.setenv("TUNEFRONT_MAX_DATA_BYTES", "100000")
    packed = tmp_path / f"b.csv{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, "b.csv")
    elif suffix == ".zst":
        import pyarrow

        with pyarrow.CompressedOutputStream(str(packed), "zstd") as stream:
            stream.write(path.read_bytes())
    else:
        packed.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].compress(path.read_bytes()))  # type: ignore[attr-defined]
    assert "TUNEFRONT_MAX_DATA_BYTES" in mistake(packed)


def excel(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    book = openpyxl.Workbook()
    book.create_sheet("empty", 0)
    for row in rows:
        book["Sheet"].append(list(row))
    book.save(path)
    return path


LAUGHS = "".join(f'<!ENTITY e{depth + 1} "{f"&e{depth};" * 10}">' for depth in range(9))
ENTITIES = {
    "that grow": f'<!DOCTYPE x [<!ENTITY e0 "aaaaaaaaaa">{LAUGHS}]>',
    "of a file": '<!DOCTYPE x [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>',
}


@pytest.mark.parametrize("kind", ENTITIES)
def test_entities_of_a_workbook_are_refused(kind: str, tmp_path: Path) -> None:
    """Neither a billion letters nor another file come out of the XML in it."""
    path, hostile = excel(tmp_path / "a.xlsx", [["text", "label"], ["words", "x"]]), tmp_path / "b.xlsx"
    row = '<row r="1"><c t="inlineStr"><is><t>&e9;</t></is></c></row>'
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(hostile, "w") as changed:
        for name in whole.namelist():
            content = whole.read(name).decode()
            if name == "xl/worksheets/sheet2.xml":
                content = ENTITIES[kind] + content.replace("<sheetData>", f"<sheetData>{row}")
                assert "&e9;" in content
            changed.writestr(name, content)
    text = mistake(hostile)
    assert "cannot be read as an Excel workbook" in text
    assert "root:" not in text


@pytest.mark.parametrize("kind", ["xlsx", "parquet", "json", "jsonl", "tsv"])
def test_every_format_gives_the_task_of_the_csv_file(tmp_path: Path, kind: str) -> None:
    path = csv_file(tmp_path)
    frame, other = pd.read_csv(path), tmp_path / f"tickets.{kind}"
    if kind == "xlsx":
        excel(other, [[*frame.columns], *frame.to_numpy().tolist()])
    elif kind == "parquet":
        frame.to_parquet(other)
    elif kind == "tsv":
        frame.to_csv(other, sep="\t", index=False)
    else:
        frame.to_json(other, orient="records", lines=kind == "jsonl")
    assert task(other).fingerprint == task(path).fingerprint


@pytest.mark.parametrize("name", ["labels.csv", "numbers.csv", "answers.csv"])
def test_a_dataframe_gives_the_fingerprint_of_its_file(tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    rows = {
        "labels.csv": lines("id,text,label,note", lambda i: f"{i},{sentence(i)},{i % 2},{'' if i % 3 else i}"),
        "numbers.csv": lines("text,score", lambda i: f"{sentence(i)},{i / 7!r}"),
        "answers.csv": lines(
            "question,A,B,answer",
            lambda i: f"which is it {i}?,{i},{'' if i == 5 else i + 1},A"[:-1] + "AB"[i % 2 and i != 5],
        ),
    }
    path = put(tmp_path, name, rows[name])
    frame = pd.read_csv(path)
    frame.index = frame.index + 5
    assert task(frame).fingerprint == task(path).fingerprint


def test_a_dataframe_is_named_by_its_rows(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    frame = pd.read_csv(csv_file(tmp_path))
    assert task(frame).name == task(frame.copy()).name != task(frame.iloc[1:]).name
    assert str(tmp_path) not in task(frame).name
    with pytest.raises(UserError, match="pass it again"):
        load_task("frame:0123456789abcdef")


def test_test_rows_may_be_a_dataframe(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    frame = pd.read_csv(csv_file(tmp_path))
    read = task(frame.iloc[:50], test=frame.iloc[50:])
    assert (len(read.splits["train"]), len(read.splits["test"])) == (50, 10)


def test_columns_of_mixed_values_and_categories_are_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    frame = pd.DataFrame({"text": [sentence(i) for i in range(ROWS)], "mixed": [1, "a", None, [2], 5.5, b"c"] * 10})
    frame["label"] = pd.Categorical(["good", "bad"] * 30)
    assert task(frame).label_names == ("bad", "good")


def test_answers_in_lists_are_kept_in_a_dataframe(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    rows = [{"ctx": sentence(i), "endings": [f"a {i}", f"b {i}"], "label": i % 2} for i in range(ROWS)]
    path = put(tmp_path, "rows.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    assert task(path).kind == "multiple choice"
    assert task(pd.DataFrame(rows)).fingerprint == task(path).fingerprint


BAD = {
    "empty": ("", "has no rows"),
    "header": ("text,label\n", "has no rows"),
    "one column": (lines("text", sentence), "one column"),
    "one class": (lines("text,label", lambda i: f"{sentence(i)},good"), "at least two different labels"),
    "all labels different": (lines("text,label", lambda i: f"{sentence(i)},class {i}"), "another value"),
    "no label": (lines("text,title", lambda i: f"{sentence(i)},{sentence(i + 90)}"), "--label COLUMN"),
    "no text": (lines("price,label", lambda i: f"{i * 1.5},{i % 2}"), "no column has texts"),
    "several labels": (lines("text,label", lambda i: f"{sentence(i)},{('a', 'b', 'a|b')[i % 3]}"), "multi-label"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_task_is_explained_in_one_paragraph(tmp_path: Path, case: str) -> None:
    content, fact = BAD[case]
    assert fact in mistake(put(tmp_path, "bad.csv", content))


def test_train_and_test_with_other_columns_are_explained(tmp_path: Path) -> None:
    test = put(tmp_path, "test.csv", lines("body,label", lambda i: f"{sentence(i)},{i % 2}", 5))
    train = put(tmp_path, "train.csv", lines("text,label", lambda i: f"{sentence(i)},{i % 2}"))
    said = mistake(train, test=str(test))
    assert "test.csv" in said
    assert "'text'" in said


@pytest.mark.parametrize("option", ["label", "text", "id", "group", "split"])
def test_a_column_that_is_not_there_is_answered_with_the_nearest(tmp_path: Path, option: str) -> None:
    value: object = ["sentimnt"] if option == "text" else "sentimnt"
    assert "did you mean 'sentiment'?" in mistake(csv_file(tmp_path), **{option: value})


@pytest.mark.parametrize("options", [{"label": "review", "text": ["review"]}, {"split": "1.5"}, {"header": "maybe"}])
def test_options_that_contradict_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    assert mistake(csv_file(tmp_path), **options)


def test_ten_gigabytes_of_one_line_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.write(b"text,label")
        file.truncate(10 * 2**30)  # sparse: nothing is written
    assert "TUNEFRONT_MAX_DATA_BYTES" in mistake(path)


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    csv_file(tmp_path)
    assert "'tickets.csv'" in mistake(tmp_path / "tikets.csv")


def test_excel_without_openpyxl_says_how_to_install_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    assert "tunefront[excel]" in mistake(put(tmp_path, "a.xlsx", b"PK\3\4"))


@pytest.mark.parametrize("content", [b"PK\3\4 no workbook", b"", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old"])
def test_a_damaged_workbook_is_explained(tmp_path: Path, content: bytes) -> None:
    assert "a.xlsx" in mistake(put(tmp_path, "a.xlsx", content))


def test_reading_a_file_imports_neither_pandas_nor_torch(tmp_path: Path) -> None:
    import sys

    path = csv_file(tmp_path)
    code = (
        "import sys; from tunefront.bench.data.sources import load_task; load_task(sys.argv[1]); "
        "sys.exit(any(name in sys.modules for name in ('pandas', 'torch', 'pyarrow', 'openpyxl')))"
    )
    assert subprocess.run([sys.executable, "-c", code, f"file:{path}"], check=False).returncode == 0


def test_a_validation_file_selects_and_other_rows_are_scored(tmp_path: Path) -> None:
    path, validation = csv_file(tmp_path), csv_file(tmp_path, rows=8, name="dev.csv")
    read = task(path, validation=str(validation))
    assert {split: len(rows) for split, rows in read.splits.items()} == {"train": 48, "validation": 8, "test": 12}
    assert read.eval_split == "test"
    assert selects_on_validation(read)
    assert "validation rows from dev.csv" in says(read)


def test_validation_and_test_rows_may_both_be_files(tmp_path: Path) -> None:
    path, validation = csv_file(tmp_path), csv_file(tmp_path, rows=8, name="dev.csv")
    test = csv_file(tmp_path, rows=9, name="last.csv")
    read = task(path, validation=str(validation), test=str(test))
    assert {split: len(rows) for split, rows in read.splits.items()} == {"train": ROWS, "validation": 8, "test": 9}
    assert "by hash" not in says(read)


def test_validation_rows_may_be_a_dataframe(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    frame = pd.read_csv(csv_file(tmp_path))
    read = task(frame.iloc[:50], test=frame.iloc[50:55], validation=frame.iloc[55:])
    assert {split: len(rows) for split, rows in read.splits.items()} == {"train": 50, "validation": 5, "test": 5}


def test_a_column_of_splits_and_a_file_of_a_split_contradict(tmp_path: Path) -> None:
    path, other = csv_file(tmp_path), csv_file(tmp_path, name="dev.csv")
    assert "--split customer and --validation" in mistake(path, validation=str(other), split="customer")


@pytest.mark.parametrize("name", ["old.xls", "old.xlsx", "old.csv", "old"])
def test_an_old_workbook_is_to_be_saved_in_the_new_format(tmp_path: Path, name: str) -> None:
    text = mistake(put(tmp_path, name, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600))
    assert "save it as .xlsx" in text
    assert f"--convert-to xlsx {tmp_path / name}" in text


def test_an_opendocument_sheet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ods"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    assert "OpenDocument" in mistake(path)


def test_a_table_named_xls_is_read(tmp_path: Path) -> None:
    path = put(tmp_path, "a.xls", lines("text\tlabel", lambda i: f"{sentence(i)}\t{i % 2}"))
    assert task(path).input_fields == ("text",)


def test_the_garbage_collector_runs_again_after_reading(tmp_path: Path) -> None:
    task(csv_file(tmp_path))
    assert gc.isenabled()
    mistake(put(tmp_path, "one.csv", lines("text", sentence)))
    assert gc.isenabled()


def test_a_link_to_nothing_is_not_answered_with_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to("gone.csv")
    assert "a link to gone.csv" in mistake(tmp_path / "link.csv")


def test_a_url_is_named_as_one() -> None:
    assert "https://example.com/x.csv is a URL" in mistake("https://example.com/x.csv")


def test_json_without_rows_is_not_said_to_have_another_separator(tmp_path: Path) -> None:
    text = mistake(put(tmp_path, "deep.json", '{"data": {"rows": [{"text": "a", "label": 1}]}}'))
    assert "commas" not in text


def test_a_path_that_begins_with_a_tilde_is_given_with_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the message about an unknown home folder says."""
    csv_file(tmp_path, name="~tilde.csv")
    monkeypatch.chdir(tmp_path)
    assert "./~tilde.csv" in mistake("~tilde.csv")
    assert task("./~tilde.csv").splits["test"]
    assert load_task("./~tilde.csv").splits["test"]


def test_answers_that_some_labels_do_not_name_are_said_to_be_no_answers(tmp_path: Path) -> None:
    row = lambda i: f"what is {i} and {i},{i},{2 * i + 1},{'E' if i % 10 == 0 else 'AB'[i % 2]}"  # noqa: E731
    path = put(tmp_path, "quiz.csv", lines("question,A,B,answer", row))
    assert any("'E'" in note for note in task(path).notes)
    assert "'E'" in mistake(path, kind="multiple choice")


def test_a_described_folder_with_train_rows_alone_is_split(tmp_path: Path) -> None:
    """As the message about such a folder, read by `dir:`, advises."""
    csv_file(tmp_path, name="train.csv")
    put(tmp_path, "meta.json", '{"metrics": ["macro_f1"]}')
    read = task(tmp_path)
    assert read.splits["test"]
    assert [metric.name for metric in read.metrics] == ["macro_f1"]


@pytest.mark.parametrize("option", ["group", "id"])
def test_a_label_that_another_option_takes_is_named(tmp_path: Path, option: str) -> None:
    path = put(tmp_path, "a.csv", lines("text,label", lambda n: f"{sentence(n)},{n % 2}"))
    assert "'label', which is named like one" in mistake(path, **{option: "label"})
