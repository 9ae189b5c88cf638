"""The answers to the rows of a file: those of the record, in any format, once each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.bench.checkpoints.kept import ran, record_path, scored_rows
from tests.bench.execution.streams import alone, toy_tasks
from tunefront import predict
from tunefront.bench.cells import Cell
from tunefront.bench.checkpoints import prediction
from tunefront.bench.checkpoints.loading import open_checkpoint
from tunefront.bench.checkpoints.prediction import predict_file
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

Ran = tuple[Cell, Store, Record]


def rows_file(cell: Cell, path: Path) -> Path:
    """The rows that a cell scored, without their labels."""
    frame = pd.DataFrame([{"id": row.id, **row.fields} for row in scored_rows(cell)])
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    return path


@pytest.fixture
def bert(backbones: dict[str, str], tmp_path: Path) -> Ran:
    (cell,) = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("houlsby:bottleneck=4",))
    store, (record,) = ran([cell], tmp_path / "out")
    return cell, store, record


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_predictions_are_those_of_the_record(ending: str, bert: Ran, tmp_path: Path) -> None:
    cell, store, record = bert
    file, out = rows_file(cell, tmp_path / f"rows{ending}"), tmp_path / f"answers{ending}"
    frame = predict(record_path(store, record), file, out=out)
    recorded = store.predictions(record.key)
    assert frame["id"].tolist() == recorded["id"].tolist()
    assert frame["prediction"].tolist() == [["good", "bad"][place] for place in recorded["prediction"]]
    for place, label in enumerate(["good", "bad"]):
        assert frame[f"score_{label}"].tolist() == recorded[f"score_{place}"].tolist()
    assert frame[["probability_good", "probability_bad"]].sum(axis=1).tolist() == pytest.approx([1.0] * len(frame))
    read: dict[str, Any] = {
        ".csv": pd.read_csv,
        ".parquet": pd.read_parquet,
        ".jsonl": lambda path: pd.read_json(path, lines=True),
    }
    assert read[ending](out)["prediction"].tolist() == frame["prediction"].tolist()
    rows = pd.DataFrame(read[ending](file))
    assert predict(record_path(store, record), rows)["prediction"].tolist() == frame["prediction"].tolist()


def test_answers_do_not_depend_on_the_chunk(bert: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, store, record = bert
    file = rows_file(cell, tmp_path / "rows.csv")
    whole = predict(record_path(store, record), file)
    monkeypatch.setattr(prediction, "CHUNK", 5)
    parts = predict(record_path(store, record), file)
    assert parts["prediction"].tolist() == whole["prediction"].tolist()
    assert parts["score_good"].tolist() == pytest.approx(whole["score_good"].tolist(), abs=1e-5)


def test_a_stopped_call_goes_on_and_answers_no_row_twice(
    bert: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, store, record = bert
    monkeypatch.setattr(prediction, "CHUNK", 5)
    file, out = rows_file(cell, tmp_path / "rows.csv"), tmp_path / "answers.jsonl"
    stored, fitted = open_checkpoint(record_path(store, record))
    asked: list[int] = []
    answers_of = prediction.answers_of

    def counting(fitted: Any, rows: Any) -> Any:
        asked.extend(row.number for row in rows)
        return answers_of(fitted, rows)

    def stop(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(prediction, "answers_of", counting)
    with pytest.raises(KeyboardInterrupt):
        predict_file(fitted, stored.sha256, file, out, stop)
    assert not out.exists()
    partial = next(tmp_path.glob(".answers*"))
    with partial.open("a") as kept:
        kept.write('{"row": 11}\n{"row": 12, "half a li')  # what a kill may leave of a chunk
    made = predict_file(fitted, stored.sha256, file, out)
    assert (made.n_rows, made.n_earlier) == (12, 10)
    assert asked == list(range(1, 13))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(1, 13))
    assert not list(tmp_path.glob(".answers*"))


def test_answers_of_another_file_are_not_gone_on_with(
    bert: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, store, record = bert
    monkeypatch.setattr(prediction, "CHUNK", 5)
    file, out = rows_file(cell, tmp_path / "rows.csv"), tmp_path / "answers.jsonl"
    stored, fitted = open_checkpoint(record_path(store, record))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_file(fitted, stored.sha256, file, out, stop)
    file.write_text(file.read_text().replace("film", "book"))
    assert predict_file(fitted, stored.sha256, file, out).n_earlier == 0


def test_rows_without_text_have_no_answer(bert: Ran, tmp_path: Path) -> None:
    _, store, record = bert
    file = tmp_path / "rows.csv"
    file.write_text('id,text\na,good film\nb,\nc,"  "\nd,bad film\n')
    frame = predict(record_path(store, record), file)
    assert frame["prediction"].isna().tolist() == [False, True, True, False]
    assert frame["probability_good"].isna().tolist() == [False, True, True, False]


def test_every_row_of_a_file_has_an_answer_in_its_place(bert: Ran, tmp_path: Path) -> None:
    """Rows without any value too; only a blank line is none."""
    _, store, record = bert
    file = tmp_path / "rows.csv"
    file.write_text("idx,text\n1,good film\n,\n\n3,bad film\n")
    frame = predict(record_path(store, record), file)
    assert frame["prediction"].isna().tolist() == [False, True, False]
    assert frame["row"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_other_ends_of_lines_in_a_text_end_no_row(ending: str, bert: Ran, tmp_path: Path) -> None:
    _, store, record = bert
    ids = ["a\u2028b", "c\u0085d", "e\x0bf"]
    file, out = tmp_path / "rows.jsonl", tmp_path / f"answers{ending}"
    file.write_text("".join(json.dumps({"id": name, "text": "good"}, ensure_ascii=False) + "\n" for name in ids))
    stored, fitted = open_checkpoint(record_path(store, record))
    assert predict_file(fitted, stored.sha256, file, out).n_rows == 3
    if ending == ".jsonl":
        assert [json.loads(line)["id"] for line in out.read_text().split("\n")[:-1]] == ids
    else:
        read = pd.read_csv if ending == ".csv" else pd.read_parquet
        assert read(out)["id"].tolist() == ids


def test_choices_are_named_by_their_places(language_models: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "choices"
    folder.mkdir()
    rows = [{"question": f"Is this {n} good or bad", "a": "yes it is", "b": "no", "label": n % 2} for n in range(16)]
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    meta = {"task_type": "multiple choice", "input_fields": ["question", "a", "b"], "label_names": ["a", "b"]}
    (folder / "meta.json").write_text(json.dumps(meta))
    jinja = "{{ question }} ||| {{ answer_choices[label] }}"
    template = (
        f"templates: {{t: !Template {{name: t, jinja: '{jinja}', answer_choices: '{{{{ a }}}} ||| {{{{ b }}}}'}}}}"
    )
    (folder / "templates.yaml").write_text(template)
    (cell,) = alone(language_models["gpt2"], [f"dir:{folder}"], ("lora",), template="t")
    store, (record,) = ran([cell], tmp_path / "out")
    assert record.status == "ok", record.reason
    asked = [{**row, "b": None if number == 1 else row["b"]} for number, row in enumerate(rows)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    frame = predict(record_path(store, record), tmp_path / "rows.jsonl")
    assert [name for name in frame.columns if name.startswith("score")] == ["score_0", "score_1"]
    assert frame["prediction"].isna().tolist() == [number == 1 for number in range(16)]
    assert set(frame["prediction"].dropna()) <= {"yes it is", "no"}
    recorded = store.predictions(record.key)["score_0"].tolist()
    kept = [number for number in range(16) if number != 1]
    assert [frame["score_0"][n] for n in kept] == pytest.approx([recorded[n] for n in kept], abs=1e-5)


def test_wrong_files_are_mistakes(bert: Ran, tmp_path: Path) -> None:
    _, store, record = bert
    path = record_path(store, record)
    (tmp_path / "other.csv").write_text("id,txt\n1,good\n")
    (tmp_path / "empty.csv").write_text("text\n")
    (tmp_path / "rows.csv").write_text("text\ngood\n")
    for file, out, message in (
        ("other.csv", None, "'text'"),
        ("empty.csv", None, "no rows"),
        ("nothing.csv", None, "nothing.csv"),
        ("rows.csv", "answers.txt", "jsonl"),
        ("rows.csv", "rows.csv", "exists already"),
        (".", None, "folder"),
    ):
        with pytest.raises(UserError, match=message):
            predict(path, tmp_path / file, out=None if out is None else tmp_path / out)
    with pytest.raises(UserError, match="DataFrame"):
        predict(path, 3)
    with pytest.raises(UserError, match="the DataFrame") as error:
        predict(path, pd.DataFrame({"txt": ["good"]}))
    assert ".parquet" not in str(error.value)
    (tmp_path / "deep.jsonl").write_text('{"text": "good", "more": ' + "[" * 5000 + "]" * 5000 + "}\n")
    with pytest.raises(UserError, match="deep"):
        predict(path, tmp_path / "deep.jsonl")


def test_scores_that_give_no_prediction_are_an_error(bert: Ran, tmp_path: Path) -> None:
    cell, store, record = bert
    _, fitted = open_checkpoint(record_path(store, record))
    with torch.no_grad():
        fitted.backbone.head.output.bias.fill_(float("nan"))  # type: ignore[union-attr]
    rows = prediction.read_rows(fitted, rows_file(cell, tmp_path / "rows.csv"))
    with pytest.raises(UserError, match="NaN"):
        prediction.answers_to(fitted, rows)


@pytest.mark.parametrize("method", ["lora", "icl:k=4", "prompt_tuning:length=4"])
def test_language_models_answer_with_their_template(
    method: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    (cell,) = alone(language_models["gpt2"], toy_tasks(tmp_path / "data", 1), (method,), template="plain")
    store, (record,) = ran([cell], tmp_path / "out")
    frame = predict(record_path(store, record), rows_file(cell, tmp_path / "rows.jsonl"))
    recorded = store.predictions(record.key)
    assert frame["score_bad"].tolist() == recorded["score_1"].tolist()
    assert frame["prediction"].tolist() == [["good", "bad"][place] for place in recorded["prediction"]]


def test_shares_of_neighbours_are_probabilities(backbones: dict[str, str], tmp_path: Path) -> None:
    (cell,) = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("knn:k=3",))
    store, (record,) = ran([cell], tmp_path / "out")
    frame = predict(record_path(store, record), rows_file(cell, tmp_path / "rows.jsonl"))
    both = frame[["probability_good", "probability_bad"]]
    assert both.sum(axis=1).tolist() == pytest.approx([1.0] * len(frame))
    scores = frame[["score_good", "score_bad"]]
    assert both["probability_good"].tolist() == pytest.approx((scores["score_good"] / scores.sum(axis=1)).tolist())


def test_labels_that_a_spreadsheet_would_run_are_escaped(backbones: dict[str, str], tmp_path: Path) -> None:
    task = toy_tasks(tmp_path / "data", 1)[0]
    folder = Path(task.removeprefix("dir:"))
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "label_names": ["=1+1", "@cmd"]}))
    (cell,) = alone(backbones["bert"], [task], ("ia3",))
    store, (record,) = ran([cell], tmp_path / "out")
    out = tmp_path / "answers.csv"
    predict(record_path(store, record), rows_file(cell, tmp_path / "rows.jsonl"), out=out)
    assert set(pd.read_csv(out)["prediction"]) <= {"'=1+1", "'@cmd"}
