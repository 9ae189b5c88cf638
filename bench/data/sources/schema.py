"""What a task is, by the records of a folder or dataset, where meta.json does not say.

- the label column is `label`; `labels` says what labels mean;
- a column with a list of answers in every row, which the labels name, makes a task multiple choice (`choices`);
- the inputs are the columns of text, in order (`columns`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.bench.data.sources import choices
from tunefront.bench.data.sources.columns import TWIN, Columns, telling, text_columns
from tunefront.bench.data.sources.doubts import doubts, refused
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
"""Column -> its values in train; that of the labels apart."""


@dataclass(frozen=True)
class Schema:
    """How a task's records are read.

    `declared`, whether label_names were given, so that whole numbers index them; `answers`, the column of lists that
    holds the answers of multiple choice, None where label_names are the columns that hold them. What was found on the
    way: `left_out`, the columns that are no input and why; `notes`, and `warnings` of what may be wrong.
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
        """The fields that hold the answers of multiple choice, none of other tasks."""
        return self.label_names if self.kind == "multiple choice" else ()

    @property
    def read_fields(self) -> tuple[str, ...]:
        """The columns that inputs come from: the column of lists in the place of its answers."""
        unfolded = self.label_names if self.answers else ()
        own = [name for name in self.input_fields if name not in unfolded]
        return (*own, *([self.answers] if self.answers else []))


def infer_schema(
    train: Table, meta: Meta, problems: Problems, others: Mapping[str, Table] | None = None
) -> Schema | None:
    """What `meta` says, the rest from the records: inputs from those of train, what labels are from all splits, since
    scores may be whole numbers in one of them. None, with the reason noted, where that cannot be."""
    if meta.label_field not in train.columns:
        problems.add(no_column(train, meta.label_field, "label column"))
        return None
    known = len(problems.found)
    values = {name: [record.get(name) for record in train.records] for name in train.columns}
    labels = values.pop(meta.label_field)
    tables = (others or {"train": train}).values()
    everywhere = without_nothing(each for table in tables for each in _labels(table, meta.label_field))
    answers = _answers(train, meta, values, labels, problems)
    why = refused(everywhere, meta.task_type, bool(meta.label_names)) if answers is None else None
    if why:
        problems.add(f"{train.file}: {why}")
    if len(problems.found) > known:
        return None
    if answers is not None:
        most = max(len(each.texts) for table in tables for each in _lists(table, answers))
        kind: Kind = "multiple choice"
        names = tuple(choices.field(answers, place) for place in range(most))
    else:
        kind = meta.task_type or ("classification" if meta.label_names else kind_of(everywhere))
        filled = without_nothing(labels)
        names = () if kind == "regression" else tuple(meta.label_names or names_of(filled))
    columns = _columns(meta, values, labels, answers, names)
    if kind == "regression" and meta.label_names:
        problems.add(f"{train.file.parent}: a regression task has no label_names; leave them out of meta.json.")
    if kind != "regression" and len(names) < 2:
        named = f"only {names[0]!r}" if names else "none"
        problems.add(f"{train.file}: at least two different labels are needed, {named} was found.")
    for name in columns.inputs:
        if name not in train.columns and name not in names:
            problems.add(no_column(train, name, "column", "input_fields of meta.json names it"))
        elif name == meta.label_field:
            problems.add(f"{train.file.parent}: the label would be an input; take {name!r} out of input_fields.")
    if not columns.inputs:
        told = "; ".join(f"{name}: {why}" for name, why in columns.left_out.items())
        problems.add(
            f"{train.file}: no column but {meta.label_field!r} holds text{f' ({told:.300})' if told else ''}; give "
            "each row at least one text, or name the inputs as input_fields in meta.json."
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
            *_guesses(kind, values, everywhere, answers, meta),
            *_warnings(kind, names, columns, values, labels, everywhere, bool(meta.label_names)),
        ),
    )


def schema_of(task: Task, meta: Meta) -> Schema:
    """How records of a task that is read already are read: its published draws."""
    answers = choices.column_of(task.label_names) if task.kind == "multiple choice" and not meta.label_names else None
    return Schema(
        task.kind, meta.label_field, task.label_names, task.input_fields, bool(meta.label_names), answers=answers
    )


def _answers(train: Table, meta: Meta, values: Values, labels: list[object], problems: Problems) -> str | None:
    """The column of lists with the answers; None where the task is not multiple choice, or its label_names say where
    they are. What is wrong is noted."""
    if meta.label_names or meta.task_type not in (None, "multiple choice"):
        return None
    found = choices.choice_columns(values)
    if meta.task_type is None:
        fitting = [name for name, answers in found.items() if choices.looks_like_answers(answers, labels)]
        texts = text_columns({name: each for name, each in values.items() if name not in found}, labels).inputs
        if len(fitting) != 1 or not texts or choices.are_words_of(found[fitting[0]], [values[name] for name in texts]):
            return None
        return fitting[0]
    if meta.choices_field is not None:
        found = {name: answers for name, answers in found.items() if name == meta.choices_field}
    if len(found) == 1:
        return next(iter(found))
    lists = f"{' and '.join(found)} do" if found else "no column does"
    problems.add(
        f"{train.file}: a multiple-choice task needs the answers of each row: in one column with a list of them (here "
        f"{lists}), which choices_field in meta.json names, or in columns of their own, which label_names names."
    )
    return None


def _lists(table: Table, column: str) -> list[choices.Answers]:
    found = (choices.answers_in(record.get(column)) for record in table.records)
    return [answers for answers in found if answers is not None]


def _columns(meta: Meta, values: Values, labels: list[object], answers: str | None, names: tuple[str, ...]) -> Columns:
    """The inputs: those that meta.json names, else the columns of text; the answers of a list last."""
    if meta.input_fields:
        inputs = tuple(meta.input_fields)
        if answers is not None:
            inputs = (*(name for name in inputs if name != answers and name not in names), *names)
        left_out = {name: "not in input_fields" for name in values if name not in inputs and name != answers}
        return Columns(inputs, left_out)
    found = text_columns({name: each for name, each in values.items() if name != answers}, labels)
    return Columns((*found.inputs, *(names if answers is not None else ())), found.left_out, found.notes)


def _labels(table: Table, label_field: str) -> list[object]:
    return [value for record in table.records if not missing(value := record.get(label_field))]


def _guesses(kind: Kind, values: Values, labels: list[object], answers: str | None, meta: Meta) -> list[str]:
    """What was made of the labels though nothing says so, where it may well be meant otherwise."""
    found = []
    if meta.task_type is None and answers is not None:
        found.append(
            f"read as multiple choice, since {answers!r} holds texts that the labels name; if it does not hold the "
            'answers, say "task_type": "classification" in meta.json'
        )
    elif meta.task_type is None and not meta.label_names:
        few = all(_may_be_a_place(value) for value in labels)
        found += [
            f"the lists in {name!r} are not read; if they hold each row's answers, say "
            '"task_type": "multiple choice" in meta.json'
            for name, lists in (choices.choice_columns(values) if few else {}).items()
            if all(choices.are_texts(each) for each in lists)
        ]
    commas = next((value for value in labels if isinstance(value, str) and "," in value), None)
    if kind == "regression" and meta.task_type is None and commas:
        found.append(
            f"the commas in labels such as {commas!r} are read as decimal points; where they part several labels of a "
            "row, this is no task that can be run here"
        )
    return found


def _may_be_a_place(label: object) -> bool:
    """Whether a label may say which answer is right: a small number or a letter."""
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
) -> list[str]:
    """What may be wrong: labels that are nearly the same, and inputs that give the label away."""
    found = []
    for name, why in columns.left_out.items():
        if why == TWIN:
            found.append(
                f"the column {name!r} is left out, since each of its values stands for one label; if it is an input, "
                "name it in input_fields of meta.json"
            )
    if kind == "multiple choice":
        return found
    read = {name: values[name] for name in columns.inputs if name in values}
    for name, told in telling(read, labels).items():
        found.append(
            f"the input {name!r} alone says the label: {told} of train; if it was made from the label, leave it out by "
            "input_fields in meta.json"
        )
    if kind == "classification":
        found += doubts(names, everywhere, declared)
    return found


def no_column(table: Table, name: str, what: str, why: str = "") -> str:
    add = "Name the right one as label_field in meta.json." if what == "label column" else ""
    return f"{table.file}: {unknown(what, name, table.columns, add)}{f' ({why}.)' if why else ''}"
