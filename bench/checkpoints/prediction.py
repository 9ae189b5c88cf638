"""Answers to the rows of a file: labels and probabilities, in chunks, so that a stopped call goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from tunefront.bench.data.sources.own_tables import place_of
from tunefront.bench.data.sources.unlabelled import UnlabelledRow, read_unlabelled
from tunefront.bench.errors import UserError, escape_formula, nearest
from tunefront.bench.files import check_local, explain_os_error, writing
from tunefront.bench.models.scoring.answers import predictions_of
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from tunefront.bench.checkpoints.loading import Fitted
    from tunefront.bench.checkpoints.manifest import StoredTemplate
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
    value), and for every label (of a choice its place, from 0) its probability and score, None for regression. All are
    None for a row without text."""

    row: int
    id: str | None
    prediction: str | float | None
    probabilities: dict[str, float] | None = None
    scores: dict[str, float] | None = None

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(vars(self), ensure_ascii=False)


def check_place(out: Path) -> None:
    """UserError for a path with the ending of no format, of a URL, or that is there already."""
    check_local(out)
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
    asked = [row for row in rows if can_be_asked(fitted, row)]
    answered = {row.number: Answer(row.number, row.id, None) for row in rows}
    if asked:
        try:
            scores = fitted.scores(fitted.encode([row.row for row in asked]))
        except UserError:  # a ValueError too
            raise
        except (Unsupported, ValueError) as error:
            raise UserError(f"rows {asked[0].number} to {asked[-1].number} cannot be scored: {error}.") from error
        answered |= {
            row.number: _answer(fitted, row, values) for row, values in zip(asked, scores.unbind(), strict=True)
        }
    return (answered[row.number] for row in rows)


def can_be_asked(fitted: Fitted, row: UnlabelledRow) -> bool:
    """Whether a row has text and, for a prompt that writes the choices, all of these: one that is missing would stand
    there as a word."""
    stored = fitted.manifest.template
    return row.has_text and not (row.lacks_choice and stored is not None and stored.jinja is not None)


def _answer(fitted: Fitted, row: UnlabelledRow, scores: Tensor) -> Answer:
    task = fitted.task
    (best,) = predictions_of(task, scores[None])
    if task.kind == "regression":
        return Answer(row.number, row.id, float(best))
    is_choice = task.kind == "multiple choice"
    names = _choices(fitted, row.row) if is_choice else task.label_names
    keys = [str(place) for place in range(len(names))] if is_choice else names  # every row has texts of its own
    kept = [place for place, value in enumerate(scores.tolist()) if value > float("-inf")]
    probabilities = fitted.probabilities(scores)
    return Answer(
        row.number,
        row.id,
        names[int(best)],
        {keys[place]: float(probabilities[place]) for place in kept},
        {keys[place]: float(scores[place]) for place in kept},
    )


def _choices(fitted: Fitted, row: Row) -> tuple[str, ...]:
    """The choices of a row of multiple choice, as its prompt writes them."""
    template = cast("StoredTemplate", fitted.manifest.template)  # without one no such checkpoint is loaded
    return template.template().render(fitted.task, row).choices


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
        _write(_lines(partial)[1:], out)
        partial.unlink()
    except UserError:
        if len(_lines(partial)) <= 1:  # nothing to go on with
            partial.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise UserError(f"{out} cannot be written: {explain_os_error(error)}") from error
    return Predicted(out, len(rows), done, sum(not can_be_asked(fitted, row) for row in rows))


def answers_to(fitted: Fitted, rows: Sequence[UnlabelledRow]) -> list[dict[str, Any]]:  # Any: the fields of an answer
    """The answers to all rows, in chunks as `predict_file` makes them."""
    return [
        vars(answer)
        for start in range(0, len(rows), CHUNK)
        for answer in answers_of(fitted, rows[start : start + CHUNK])
    ]


def frame_of_answers(answers: Sequence[dict[str, Any]]) -> pd.DataFrame:  # Any: the fields of an answer
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
    known = _lines(partial)
    if not known or known[0] != head:
        known = [head]
    known = known[: 1 + (len(known) - 1) // CHUNK * CHUNK]  # whole chunks: batches are made within them
    with writing(partial) as file:
        file.write("".join(f"{line}\n" for line in known).encode())
    return len(known) - 1


def _lines(partial: Path) -> list[str]:
    """The lines that were written whole; empty without a file. Only a line feed ends one: texts may hold other ends."""
    try:
        text = partial.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return []
    return text.split("\n")[:-1]


def _flush(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


def write_answers(answers: Sequence[dict[str, Any]], out: Path) -> None:  # Any: as above
    """Writes answers in the format of `out`, whole or not at all. Errors: OSError."""
    _write([json.dumps(each, ensure_ascii=False) for each in answers], out)


def _write(lines: Sequence[str], out: Path) -> None:
    """The same for answers that are lines of JSON."""
    with writing(out) as file:
        if out.suffix.lower() == ".jsonl":
            file.write("".join(f"{line}\n" for line in lines).encode())
            return
        table = frame_of_answers([json.loads(line) for line in lines])
        if out.suffix.lower() == ".parquet":
            table.to_parquet(file, index=False)
        else:
            safe = table.map(escape_formula).rename(columns=lambda name: str(escape_formula(name)))
            file.write(safe.to_csv(index=False, lineterminator="\n").encode())


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
