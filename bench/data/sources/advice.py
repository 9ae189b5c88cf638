"""What messages about a task's rows tell the user to do: in the words of the place where the rows come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, get_args

from tunefront.bench.data.task import Kind

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True)
class Advice:
    """What to do, as the end of a sentence without its full stop.

    Args: kinds, to say which kind of task it is; inputs, to name the inputs; label, to name the label column; classes,
    to say that labels are classes; answers, to say where the answers of multiple choice are; declaration, where classes
    are declared, None where they cannot be.
    """

    kinds: Mapping[Kind, str]
    inputs: str
    label: str
    classes: str
    answers: str
    declaration: str | None

    @classmethod
    def of_meta(cls, file: str) -> Self:
        """What to do in a meta.json."""
        return cls(
            kinds={kind: f'set "task_type": "{kind}" in {file}' for kind in get_args(Kind)},
            inputs=f"name the inputs as input_fields in {file}",
            label=f"name the right one as label_field in {file}",
            classes=f"list them as label_names in {file}",
            answers=f"set as choices_field in {file}, or in separate columns, set as label_names",
            declaration=f"label_names in {file}",
        )


FOLDER = Advice.of_meta("meta.json")
"""For `dir:`."""
HUB = Advice.of_meta("the meta.json of a folder with these rows (dir:FOLDER)")
"""For `hub:`, whose datasets have no meta.json: their rows can be saved as a folder."""
FILE = Advice(
    kinds={kind: f"add --kind {quote(kind)}" for kind in get_args(Kind)},
    inputs="name the columns to read with --text",
    label="name the right one with --label",
    classes="add --kind classification",
    answers="or in separate columns named like A, B, C or option1, option2",
    declaration=None,
)
"""For a file of one's own: the options of the command."""
