"""Answers to the rows of a file: labels and probabilities, in chunks, so that a stopped call goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tunefront.bench.data.sources.own_tables import place_of
from tunefront.bench.data.sources.unlabelled import UnlabelledRow, read_unlabelled
from tunefront.bench.errors import UserError, escape_formula, nearest
from tunefront.bench.files import explain_os_error, writing
from tunefront.bench.models.scoring.answers import predictions_of
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from tunefront.bench.checkpoints.loading import Fitted
    from tunefront.bench.data.task import Row

CHUNK = 512
"""Rows that are scored, and written, at a time. Batches are made within a chunk, rows of like length together."""
FORMATS = (".jsonl", ".csv", ".parquet")
PARTIAL = ".partial"
"""The ending of the file that holds the answers until all are there."""

Report = Callable[[int, int], None]
"""(answered rows, all rows)."""


@dataclass(frozen=True)
class Predicted:
    """What became of a file: where the answers are, the number of its rows, how many of these an earlier call had
    answered, and how many have no text and so no answer."""

    path: Path
    n_rows: int
    n_earlier: int
    n_empty: int


@dataclass(frozen=True)
class Answer:
    """The answer to a row: its number in the file from 1, its id there, the label (the text of the choice, or the
    value), and for every label its score and probability, None for regression. All are None for a row without text."""

    row: int
    id: str | None
    prediction: str | float | None
    probabilities: dict[str, float] | None = None
    scores: dict[str, float] | None = None

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(vars(self), ensure_ascii=False)


def check_place(out: Path) -> None:
    """UserError for a path with the ending of no format, or that is there already."""
    if out.suffix.lower() not in FORMATS:
        near = nearest(out.suffix.lower(), FORMATS)
        hint = f" (did you mean {near}?)" if near else ""
        raise UserError(f"{out} must end in one of {', '.join(FORMATS)}, got {out.suffix or 'no ending'}{hint}.")
    if out.exists():
        raise UserError(f"{out} exists already; remove it, or give another path with --out.")


def read_rows(fitted: Fitted, file: Path | str) -> list[UnlabelledRow]:
    """The rows of a file of the checkpoint's task. UserError if it cannot be read, or lacks the columns."""
    return read_unlabelled(file, fitted.task)


def answers_of(fitted: Fitted, rows: Sequence[UnlabelledRow]) -> Iterator[Answer]:
    """The answers to rows that are scored together, in their order.

    Errors: UserError, with the number of the row in its file, for one that the prompt template cannot render.
    """
    asked = [row for row in rows if row.has_text]
    answered: dict[int, Answer] = {row.number: Answer(row.number, row.id, None) for row in rows if not row.has_text}
    if asked:
        try:
            scores = fitted.scores(fitted.encode([row.row for row in asked]))
        except Unsupported as error:
            raise UserError(f"rows {asked[0].number} to {asked[-1].number} cannot be scored: {error}.") from error
        answered |= {
            row.number: _answer(fitted, row, values) for row, values in zip(asked, scores.unbind(), strict=True)
        }
    return (answered[row.number] for row in rows)


def _answer(fitted: Fitted, row: UnlabelledRow, scores: Tensor) -> Answer:
    task = fitted.task
    (best,) = predictions_of(task, scores[None])
    if task.kind == "regression":
        return Answer(row.number, row.id, float(best))
    names = task.label_names if task.kind == "classification" else _choices(fitted, row.row)
    kept = [place for place, value in enumerate(scores.tolist()) if value > float("-inf")]
    probabilities = fitted.probabilities(scores)
    return Answer(
        row.number,
        row.id,
        names[int(best)],
        {names[place]: float(probabilities[place]) for place in kept},
        {names[place]: float(scores[place]) for place in kept},
    )


def _choices(fitted: Fitted, row: Row) -> tuple[str, ...]:
    """The choices of a row of multiple choice, as its prompt writes them."""
    stored = fitted.manifest.template
    if stored is None:
        raise ValueError("multiple choice without a prompt template")
    return stored.template().render(fitted.task, row).choices


def predict_file(fitted: Fitted, sha256: str, file: Path | str, out: Path, report: Report | None = None) -> Predicted:
    """Writes the answers to every row of `file` to `out`, whole or not at all.

    Until then they are in a file beside it, in which a stopped call leaves what it has; the same call goes on from
    there, if checkpoint (`sha256`) and file are the same. Errors: UserError for wrong files and rows.
    """
    check_place(out)
    rows = read_rows(fitted, file)
    partial = out.with_name(f".{out.name}{PARTIAL}")
    head = json.dumps({"checkpoint": sha256, "file": _digest(place_of(str(file))), "rows": len(rows)})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        done = _begin(partial, head)
        with partial.open("a", encoding="utf-8") as kept:
            for start in range(done, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                kept.writelines(f"{answer.as_json()}\n" for answer in answers_of(fitted, chunk))
                _flush(kept)
                if report is not None:
                    report(start + len(chunk), len(rows))
        _finish(partial, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {explain_os_error(error)}") from error
    return Predicted(out, len(rows), done, sum(not row.has_text for row in rows))


def predicted_frame(fitted: Fitted, rows: Sequence[UnlabelledRow]) -> pd.DataFrame:
    """The answers to rows as a table; see `Answer`. For each label it has a probability and a score."""
    answers = [
        vars(answer)
        for start in range(0, len(rows), CHUNK)
        for answer in answers_of(fitted, rows[start : start + CHUNK])
    ]
    return _frame(answers)


def _frame(answers: Sequence[dict[str, Any]]) -> pd.DataFrame:  # Any: the fields of an answer
    import pandas as pd

    named = ("probabilities", "scores")
    labels = {kind: list(dict.fromkeys(name for each in answers for name in each[kind] or ())) for kind in named}
    columns: dict[str, list[object]] = {
        name: [each[name] for each in answers]
        for name in ("row", "id", "prediction")
        if name != "id" or _has_ids(answers)
    }
    for kind, singular in zip(named, ("probability", "score"), strict=True):
        for label in labels[kind]:
            columns[f"{singular}_{label}"] = [(each[kind] or {}).get(label) for each in answers]
    return pd.DataFrame(columns)


def _has_ids(answers: Sequence[dict[str, Any]]) -> bool:  # Any: as above
    return any(each["id"] is not None for each in answers)


def _begin(partial: Path, head: str) -> int:
    """Starts the file of answers, or takes those that a stopped call has left of the same rows; returns their
    number."""
    known = _complete_lines(partial)
    if not known or known[0] != head:
        known = [head]
    with writing(partial) as file:
        file.write("".join(f"{line}\n" for line in known).encode())
    return len(known) - 1


def _complete_lines(partial: Path) -> list[str]:
    """The lines that were written whole; empty without a file."""
    try:
        text = partial.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return []
    return text[: text.rfind("\n") + 1].splitlines()


def _flush(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _finish(partial: Path, out: Path) -> None:
    """Turns the answers into the format of `out`."""
    lines = partial.read_text(encoding="utf-8").splitlines()[1:]
    with writing(out) as file:
        if out.suffix.lower() == ".jsonl":
            file.write("".join(f"{line}\n" for line in lines).encode())
        else:
            table = _frame([json.loads(line) for line in lines])
            if out.suffix.lower() == ".parquet":
                table.to_parquet(file, index=False)
            else:
                safe = table.map(escape_formula).rename(columns=lambda name: str(escape_formula(name)))
                file.write(safe.to_csv(index=False, lineterminator="\n").encode())
    partial.unlink()


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
