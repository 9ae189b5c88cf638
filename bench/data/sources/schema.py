"""Infers a task's schema from the records of a folder or dataset, unless meta.json declares it.

- the label column is `label`; see `labels` for the meaning of labels;
- a column with a list of answers in every row, named by the labels, means multiple choice (`choices`);
- the inputs are the text columns, in order (`columns`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.bench.data.sources import choices
from tunefront.bench.data.sources.advice import FOLDER, Advice
from tunefront.bench.data.sources.columns import TWIN, Columns, label_leaks, text_columns
from tunefront.bench.data.sources.doubts import label_error, label_warnings
from tunefront.bench.data.sources.labels import (
    kind_of,
    missing,
    names_of,
    whole,
    without_nothing,
)
from tunefront.bench.data.task import Kind, Task
from tunefront.bench.errors import unknown

if TYPE_CHECKING:
    from tunefront.bench.data.sources.meta import Meta
    from tunefront.bench.data.sources.tables import Problems, Table

_FEW_ANSWERS = 30
Values = Mapping[str, list[object]]
"""Column -> its values in train, without the label column."""


@dataclass(frozen=True)
class Schema:
    """How to read a task's records.

    `declared`: whether label_names were given, so that whole numbers are indices; `answers`: the column of lists with
    the answers of multiple choice, None if label_names are the columns of answers. From the inference: `left_out`, the
    columns that are no input, with reasons; `notes`; and `warnings` about possible problems.
    """

    kind: Kind
    label_field: str
    label_names: tuple[str, ...]
    input_fields: tuple[str, ...]
    declared: bool
    answers: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """The fields with the answers of multiple choice; empty for other tasks."""
        return self.label_names if self.kind == "multiple choice" else ()

    @property
    def read_fields(self) -> tuple[str, ...]:
        """The columns that inputs are read from: the column of lists instead of its answers."""
        unfolded = self.label_names if self.answers else ()
        own = [name for name in self.input_fields if name not in unfolded]
        return (*own, *([self.answers] if self.answers else []))


def infer_schema(
    train: Table, meta: Meta, problems: Problems, others: Mapping[str, Table] | None = None
) -> Schema | None:
    """The schema from `meta` and, for the rest, from the records: inputs from train, the kind of labels from all splits
    since scores may be whole numbers in one of them. None, with the reason in `problems`, if that fails."""
    if meta.label_field not in train.columns:
        problems.add(no_column(train, meta.label_field, "label column", advice=problems.advice))
        return None
    known = len(problems.found)
    values = {name: [record.get(name) for record in train.records] for name in train.columns}
    labels = values.pop(meta.label_field)
    tables = (others or {"train": train}).values()
    everywhere = without_nothing(label for table in tables for label in _labels(table, meta.label_field))
    answers = _answers(train, meta, values, labels, problems)
    why = label_error(everywhere, meta.task_type, bool(meta.label_names), problems.advice) if answers is None else None
    if why:
        problems.add(f"{train.file}: {why}")
    if len(problems.found) > known:
        return None
    if answers is not None:
        most = max(len(row.texts) for table in tables for row in _lists(table, answers))
        kind: Kind = "multiple choice"
        names = tuple(choices.field(answers, place) for place in range(most))
    else:
        kind = meta.task_type or ("classification" if meta.label_names else kind_of(everywhere))
        filled = without_nothing(labels)
        names = () if kind == "regression" else tuple(meta.label_names or names_of(filled))
    columns = _columns(meta, values, labels, answers, names)
    if kind == "regression" and meta.label_names:
        problems.add(f"{train.file.parent}: a regression task has no label_names; remove them from meta.json.")
    if kind != "regression" and len(names) < 2:
        labels_found = f"only {names[0]!r}" if names else "none"
        problems.add(f"{train.file}: at least two different labels are needed, found {labels_found}.")
    for name in columns.inputs:
        if name not in train.columns and name not in names:
            problems.add(no_column(train, name, "column", "input_fields of meta.json names it"))
        elif name == meta.label_field:
            problems.add(f"{train.file.parent}: the label must not be an input; remove {name!r} from input_fields.")
    if not columns.inputs:
        reasons = "; ".join(f"{name}: {why}" for name, why in columns.left_out.items())
        problems.add(
            f"{train.file}: no column except {meta.label_field!r} is text{f' ({reasons:.300})' if reasons else ''}; "
            f"add a text to each row, or {problems.advice.inputs}."
        )
    return Schema(
        kind,
        meta.label_field,
        names,
        columns.inputs,
        declared=bool(meta.label_names),
        answers=answers,
        left_out=columns.left_out,
        notes=(*columns.notes, *_notes(kind, meta)),
        warnings=(
            *_guesses(kind, values, everywhere, answers, meta, problems.advice),
            *_warnings(kind, names, columns, values, labels, everywhere, bool(meta.label_names), problems.advice),
        ),
    )


def schema_of(task: Task, meta: Meta) -> Schema:
    """The schema of a loaded task, to read its published draws."""
    answers = choices.column_of(task.label_names) if task.kind == "multiple choice" and not meta.label_names else None
    return Schema(
        task.kind, meta.label_field, task.label_names, task.input_fields, bool(meta.label_names), answers=answers
    )


def _answers(train: Table, meta: Meta, values: Values, labels: list[object], problems: Problems) -> str | None:
    """The column of lists with the answers; None if the task is not multiple choice or label_names name the columns of
    answers. Adds to `problems`."""
    if meta.label_names or meta.task_type not in (None, "multiple choice"):
        return None
    candidates = choices.choice_columns(values)
    if meta.task_type is None:
        fitting = [name for name, answers in candidates.items() if choices.looks_like_answers(answers, labels)]
        if len(fitting) != 1:
            return None
        texts = text_columns({name: each for name, each in values.items() if name not in candidates}, labels).inputs
        if not texts or choices.are_words_of(candidates[fitting[0]], [values[name] for name in texts]):
            return None
        return fitting[0]
    if meta.choices_field is not None:
        candidates = {name: answers for name, answers in candidates.items() if name == meta.choices_field}
    if len(candidates) == 1:
        return next(iter(candidates))
    lists = f"{' and '.join(candidates)} do" if candidates else "no column does"
    problems.add(
        f"{train.file}: a multiple-choice task needs the answers of each row: either in one column of lists (here "
        f"{lists}), {problems.advice.answers}."
    )
    return None


def _lists(table: Table, column: str) -> list[choices.Answers]:
    lists = (choices.answers_in(record.get(column)) for record in table.records)
    return [answers for answers in lists if answers is not None]


def _columns(meta: Meta, values: Values, labels: list[object], answers: str | None, names: tuple[str, ...]) -> Columns:
    """The inputs: those named by meta.json, else the text columns; the answers of a list last."""
    if meta.input_fields:
        inputs = tuple(meta.input_fields)
        if answers is not None:
            inputs = (*(name for name in inputs if name != answers and name not in names), *names)
        left_out = {name: "not in input_fields" for name in values if name not in inputs and name != answers}
        return Columns(inputs, left_out)
    texts = text_columns({name: column for name, column in values.items() if name != answers}, labels)
    return Columns((*texts.inputs, *(names if answers is not None else ())), texts.left_out, texts.notes)


def _labels(table: Table, label_field: str) -> list[object]:
    return [value for record in table.records if not missing(value := record.get(label_field))]


def _guesses(
    kind: Kind, values: Values, labels: list[object], answers: str | None, meta: Meta, advice: Advice
) -> list[str]:
    """Warnings about inferred meanings of labels that may be wrong."""
    warnings = []
    if meta.task_type is None and answers is not None:
        warnings.append(
            f"read as multiple choice, since the labels name texts in {answers!r}; if these are not the answers, "
            f"{advice.kinds['classification']}"
        )
    elif meta.task_type is None and not meta.label_names:
        few = all(_may_be_a_place(value) for value in labels)
        warnings += [
            f"the lists in {name!r} are not read; if they are the answers of each row, "
            f"{advice.kinds['multiple choice']}"
            for name, lists in (choices.choice_columns(values) if few else {}).items()
            if all(choices.are_texts(row) for row in lists)
        ]
    commas = next((value for value in labels if isinstance(value, str) and "," in value), None)
    if kind == "regression" and meta.task_type is None and commas:
        warnings.append(
            f"the commas in labels such as {commas!r} are read as decimal points; if they separate several labels of "
            "a row, the task is not supported"
        )
    return warnings


def _may_be_a_place(label: object) -> bool:
    """Whether a label may be the index of an answer: a small number or a letter."""
    number = whole(label)
    small = number is not None and 0 <= number < _FEW_ANSWERS
    return small or (isinstance(label, str) and len(label.strip()) == 1 and label.strip().isalpha())


def _notes(kind: Kind, meta: Meta) -> list[str]:
    if kind == "regression" and meta.task_type is None:
        return ["regression, since labels are numbers that are not all whole"]
    return []


def _warnings(
    kind: Kind,
    names: tuple[str, ...],
    columns: Columns,
    values: Values,
    labels: list[object],
    everywhere: list[object],
    declared: bool,
    advice: Advice,
) -> list[str]:
    """Warnings about nearly equal labels and inputs that reveal the label."""
    warnings = []
    for name, why in columns.left_out.items():
        if why == TWIN:
            warnings.append(
                f"the column {name!r} is left out, since each of its values stands for one label; if it is an input, "
                f"{advice.inputs}"
            )
    if kind == "multiple choice":
        return warnings
    read = {name: values[name] for name in columns.inputs if name in values}
    for name, leak in label_leaks(read, labels).items():
        warnings.append(
            f"the input {name!r} alone reveals the label: {leak} of train; if it was made from the label, leave it "
            f"out: {advice.inputs}"
        )
    if kind == "classification":
        warnings += label_warnings(names, everywhere, declared, advice)
    return warnings


def no_column(table: Table, name: str, what: str, why: str = "", advice: Advice = FOLDER) -> str:
    """The message for a column that a table lacks."""
    add = f"{advice.label[:1].upper()}{advice.label[1:]}." if what == "label column" else ""
    return f"{table.file}: {unknown(what, name, table.columns, add)}{f' ({why}.)' if why else ''}"
