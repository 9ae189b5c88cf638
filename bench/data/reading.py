"""Describes a loaded task: rows, inputs, columns left out and why, labels and their shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task

_LISTED = 6
"""Number of labels, or of columns left out, that are named."""
_SHORT = 40


def describe_task(task: Task) -> str:
    """One sentence, without the task's name and a full stop, notes included."""
    return "; ".join(part for part in (_rows(task), _inputs(task), _labels(task), *task.notes) if part)


def count(number: int, noun: str) -> str:
    """A count with its noun and thousands separators."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _rows(task: Task) -> str:
    return f"{listed([f'{len(rows):,} {split}' for split, rows in task.splits.items()])} rows"


def _inputs(task: Task) -> str:
    answers = task.label_names if task.kind == "multiple choice" else ()
    reads = [_short(name) for name in task.input_fields if name not in answers]
    left_out = _grouped(task.left_out)
    return f"reads {listed(reads)}" + (f", not {left_out}" if left_out else "") if reads else ""


def _grouped(left_out: Mapping[str, str]) -> str:
    """The columns left out, grouped by reason."""
    reasons: dict[str, list[str]] = {}
    for name, why in left_out.items():
        reasons.setdefault(why, []).append(_short(name))
    return "; ".join(f"{listed(_few(names))} ({why})" for why, names in reasons.items())


def _labels(task: Task) -> str:
    train = task.splits["train"]
    if task.kind == "regression":
        values = [float(row.label) for row in train]
        mean = sum(values) / len(values)
        return f"values from {min(values):g} to {max(values):g}, mean {mean:.3g} of {count(len(train), 'train row')}"
    counts = task.label_counts("train")
    ordered = counts if len(counts) <= _LISTED else dict(sorted(counts.items(), key=lambda item: -item[1]))
    shares = [f"{_short(name)} {100 * number / len(train):.0f} %" for name, number in ordered.items()]
    what = "answers" if task.kind == "multiple choice" else "labels"
    return f"{len(counts)} {what}: {', '.join(_few(shares))} of {count(len(train), 'train row')}"


def _few(names: list[str]) -> list[str]:
    more = len(names) - _LISTED
    return [*names[:_LISTED], f"{more:,} more"] if more > 0 else names


def _short(text: str) -> str:
    plain = text if text.isprintable() and text.strip() == text and text else ascii(text)
    return plain if len(plain) <= _SHORT else f"{plain[: _SHORT - 3]}..."
