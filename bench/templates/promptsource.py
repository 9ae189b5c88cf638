"""Templates of PromptSource (Bach et al. 2022, arXiv:2202.01279): a templates.yaml of Jinja sources.

The source `jinja` writes the prompt, `|||` and the target; the source `answer_choices` writes the answers with `|||`
between them; all parts are stripped. Line breaks before the `|||` of `jinja` stand between prompt and answer where a
model reads both as one text, else a blank does; PromptSource, made for encoder-decoders, drops them. The row's fields
are variables, `label` is the number of the row's label, and `jinja` has the answers as the list `answer_choices`. A
field whose name is no variable is written `fields["Review text"]`.
Unlike in PromptSource, a `|` at the end of a text next to the separator stays in the text (one tweet of tweet_emotion),
and `choice` does not depend on chance.

The right answer is the one that equals the target. For classification its index must be the label's number, and the
numbers of answers and labels must be equal, so that a chosen answer names a label, as metrics need. Most templates
comply: of the 176 in the data folders of this project (23 files for 19 of its 24 tasks),

- 7 have no answer_choices: all 5 of stsb, a regression, and 2 of mrpc, which generate a paraphrase;
- 152 have answers, and on every row of every split the target's index is the row's label;
- 4 of copa too, but on the half of the rows to which they apply (`{% if question == "effect" %}`);
- 13 of trec do not: they ask for one of 2 to 50 fine classes, by the field fine_label, where the task has 6 labels.
  Two of them, fine_grained_open and fine_grained_open_context_first, say `original_task: true` nevertheless.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tunefront.bench.templates.prompts import Prompt, Template
from tunefront.bench.templates.sandbox import environment as sandbox
from tunefront.bench.templates.sandbox.guard import SEPARATOR
from tunefront.bench.templates.sandbox.limits import Fault
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

_BEFORE_SEPARATOR = re.compile(rf"\s*(?={re.escape(SEPARATOR)})")


@dataclass(frozen=True)
class PromptSource(Template):
    """A template with answers. Args: jinja and answer_choices, its Jinja sources."""

    name: str
    original_task: bool
    jinja: str
    answer_choices: str

    @property
    def fingerprint(self) -> str:
        """sha256 over the name and both sources."""
        return hashlib.sha256(json.dumps([self.name, self.jinja, self.answer_choices]).encode()).hexdigest()

    def render(self, task: Task, row: Row) -> Prompt:
        """The row as a prompt, as in `Template`."""
        choices, text, target = self._parts(task, row)
        if not text or not target:
            lacks = "target" if text else "prompt"
            problem = f"it writes no {lacks}, which is how a template skips a row; use one that applies to all rows"
            raise self.mistake(task, row, problem)
        self.checked(task, row, choices)
        listed = f"{' | '.join(choices):.300}"
        if target not in choices:
            problem = f"the target {target[:100]!r} is none of the answers ({listed}); write one after {SEPARATOR}"
            raise self.mistake(task, row, problem)
        place = choices.index(target)
        if task.kind == "classification" and (place != row.label or len(choices) != len(task.label_names)):
            labels = f"{' | '.join(task.label_names):.300}"
            problem = (
                f"the target is answer {place} of {len(choices)} ({listed}), the label number {row.label} of "
                f"{len(task.label_names)} ({labels}), counted from 0; list one answer per label, in the labels' order"
            )
            raise self.mistake(task, row, problem)
        return Prompt(text, choices, place, self.separator)

    @property
    def separator(self) -> str:
        """What the template itself writes between prompt and answer: its line breaks, else a blank."""
        written = _BEFORE_SEPARATOR.search(self.jinja)
        return "\n" * (0 if written is None else written.group().count("\n")) or " "

    def applies(self, task: Task, row: Row) -> bool:
        """Whether the template writes a prompt and a target for the row."""
        _, text, target = self._parts(task, row)
        return bool(text and target)

    def content_free(self, task: Task, filler: str) -> Prompt:
        """The prompt with `filler` in every input field, as in `Template`."""
        row = task.splits["train"][0]
        try:
            read = sandbox.read(self.answer_choices).variables
        except Fault as fault:
            raise self.mistake(task, row, f"in answer_choices, {fault}") from fault
        if read:
            raise Unsupported(
                f"the answers of template {self.name!r} depend on the row ({', '.join(sorted(read))}), so "
                "calibration cannot build a content-free prompt"
            )
        fields = {**row.fields, **dict.fromkeys(task.input_fields, filler)}
        return self.render(task, replace(row, id=f"{row.id} with {filler} as every input", fields=fields))

    def answers(self) -> int | None:
        """The number of answers of every row; None if it depends on the row."""
        try:
            if not sandbox.read(self.answer_choices).variables:
                return len(sandbox.render(self.answer_choices, {}))
        except Fault:
            pass  # raised when a row is rendered
        return None

    def _parts(self, task: Task, row: Row) -> tuple[tuple[str, ...], str, str]:
        """The answers, the prompt and the target; an empty prompt or target means that the template skips the row."""
        if "answer_choices" in row.fields:
            raise self.mistake(task, row, "the row has a field called answer_choices; rename it")
        values = {**row.fields, "label": row.label}
        salt = json.dumps([self.name, sorted(row.fields.items())])
        try:
            choices = sandbox.render(self.answer_choices, _with_fields(self.answer_choices, values, row), salt)
        except Fault as fault:
            raise self.mistake(task, row, f"in answer_choices, {fault}") from fault
        try:
            known = _with_fields(self.jinja, {**values, "answer_choices": choices}, row)
            text, *rest = sandbox.render(self.jinja, known, salt)
        except Fault as fault:
            raise self.mistake(task, row, str(fault)) from fault
        if len(rest) > 1 or (text and not rest):
            problem = f"{SEPARATOR} separates prompt and target, and was written {len(rest)} times; write it once"
            raise self.mistake(task, row, problem)
        return tuple(choices), text, rest[0] if rest else ""


def _with_fields(source: str, values: dict[str, Any], row: Row) -> dict[str, Any]:  # Any: as in a row's fields
    """The variables, with all fields under their names if the source reads them so. Errors: Fault as in `sandbox`."""
    read = "fields" in sandbox.read(source).variables - row.fields.keys()
    return {"fields": dict(row.fields), **values} if read else values
