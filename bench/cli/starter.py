"""A first templates.yaml for a task of one's own, made from its fields, labels and kind.

Names of fields and labels come from untrusted files: in a template they are text or Jinja literals, in a comment they
are escaped.
"""

from __future__ import annotations

import keyword
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tunefront.bench.data.reading import listed
from tunefront.bench.data.sources.folder import TEMPLATES
from tunefront.bench.data.sources.labels import are_numeric
from tunefront.bench.errors import UserError, printable
from tunefront.bench.templates.choose import sample_rows
from tunefront.bench.templates.promptsource import PromptSource
from tunefront.bench.templates.reading import read_templates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunefront.bench.data.task import Task

_MOST_LISTED = 20
"""Most answers that a prompt names, and most names in a comment."""
_TAKEN = frozenset(("label", "answer_choices", "loop", "true", "false", "none", "elif", "endif", "endfor", "set", "do"))
"""Names that mean something else in a template."""
_PLAIN_NAMES = frozenset(("label", "labels", "target", "class", "y", "gold", "answer", "answerkey", "output"))
"""Names of label columns that say nothing about the task."""
_MARKS = re.compile(r"[{}|\n\r]")
_TARGET = "{{ answer_choices[label] }}"


@dataclass(frozen=True)
class _Draft:
    """A template before it is written: its name, what it does for the comment, and its two sources."""

    name: str
    about: str
    answers: str
    jinja: str

    def source(self) -> PromptSource:
        return PromptSource(self.name, True, self.jinja, self.answers)


def starter(task: Task, label: str, data: str) -> str:
    """The text of a templates.yaml with two or three templates, each tried on rows of the task.

    Args: label, the name of the label column; data, how the task is given on a command line, for the comments.
    Errors: UserError for regression, and if no template fits the rows.
    """
    if task.kind == "regression":
        raise UserError(
            f"{task.name} is a regression task: its labels are values and no answers, so no template can ask for them."
        )
    drafts = _of_choices(task) if task.kind == "multiple choice" else _of_classes(task, label)
    fitting, why = [], ""
    for draft in drafts:
        try:
            for row in sample_rows(task):
                draft.source().render(task, row)
        except UserError as error:
            why = why or str(error)
        else:
            fitting.append(draft)
    if not fitting:
        raise UserError(f"no first template can be made: {why}")
    text = f"{_comments(task, data)}templates:\n" + "".join(
        f"\n  # {draft.about}\n  {number}: !Template\n{_indented(_yaml(draft))}"
        for number, draft in enumerate(fitting, 1)
    )
    _check_written(text, fitting)
    return text


def _of_classes(task: Task, label: str) -> list[_Draft]:
    texts = [_variable(task, name) for name in task.input_fields]
    names = [_text(_title(name)) for name in task.input_fields]
    asked = _text(_title(label)) if label.lower() not in _PLAIN_NAMES and not _is_place(label) else "Label"
    words = [name.replace("_", " ").strip() for name in task.label_names]
    if len({*words}) < len(words) or "" in words:
        words = list(task.label_names)
    answers = " ||| ".join(map(_text, words))
    few = len(words) <= _MOST_LISTED
    among = ': {{ answer_choices | join(", ") }}' if few else ""
    question = f"What is the {asked[:1].lower()}{asked[1:]}{among}?"
    named = "\n".join(f"{name}: {text}" for name, text in zip(names, texts, strict=True))
    plain = "\n".join(texts)
    drafts = [_Draft("named_fields", "Every field under its name.", answers, f"{named}\n{asked}: ||| {_TARGET}")]
    if len(texts) == 2:
        question = f"Which of these describes the two texts{among}?" if asked == "Label" else question
        placed = f"First text: {texts[0]}\nSecond text: {texts[1]}"
        drafts.append(_Draft("first_and_second", "Two texts.", answers, f"{placed}\n{asked}: ||| {_TARGET}"))
    drafts.append(_Draft("question", "A question.", answers, f"{plain}\n\n{question}\nAnswer: ||| {_TARGET}"))
    if few and len(texts) != 2:
        command = 'Classify the text as one of {{ answer_choices | join(", ") }}.'
        drafts.append(
            _Draft("instruction", "What to do comes first.", answers, f"{command}\n\n{plain}\n{asked}: ||| {_TARGET}")
        )
    return drafts


def _of_choices(task: Task) -> list[_Draft]:
    questions = [name for name in task.input_fields if name not in task.label_names]
    columns = ", ".join(_reference(task, name) for name in task.label_names)
    answers = f'{{{{ [{columns}] | reject("none") | join(" ||| ") }}}}'
    target = f"{{{{ [{columns}][label] }}}}"
    plain = "\n".join(_variable(task, name) for name in questions)
    each = "{% for answer in answer_choices %}- {{ answer }}\n{% endfor %}"
    return [
        _Draft("question", "Without the answers in the prompt.", answers, f"{plain}\nAnswer: ||| {target}"),
        _Draft("listed", "With the answers in the prompt.", answers, f"{plain}\n{each}Answer: ||| {target}"),
    ]


def _variable(task: Task, name: str) -> str:
    """What writes a field; nothing for a row in which it is missing."""
    missing = any(row.fields.get(name) is None for rows in task.splits.values() for row in rows)
    otherwise = ' or ""' if missing else ""
    return f"{{{{ {_reference(task, name)}{otherwise} }}}}"


def _reference(task: Task, name: str) -> str:
    """The name of a field in Jinja: itself if it is a variable."""
    own = task.splits["train"][0].fields
    plain = re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) and not keyword.iskeyword(name) and name not in _TAKEN
    if plain and (name != "fields" or "fields" in own):
        return name
    if "fields" in own:
        raise UserError(f"{task.name}: a template cannot read the field {name!r}, since another is called fields.")
    return f"fields[{_literal(name)}]"


def _text(words: str) -> str:
    """Words as they stand in a template; as a literal if they have marks of Jinja or a separator."""
    return f"{{{{ {_literal(words)} }}}}" if _MARKS.search(words) else words


def _literal(text: str) -> str:
    """A Jinja literal; a separator within it is written in two parts, else it would separate."""
    for letter, code in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("||", '|" ~ "|')):
        text = text.replace(letter, code)
    return f'"{text}"'


def _title(name: str) -> str:
    """A field's name as words: `review_text` -> `Review text`; `Text` for a column that has no name."""
    words = " ".join(re.sub(r"[_\s]+", " ", name).split())
    return "Text" if _is_place(name) or not words else f"{words[:1].upper()}{words[1:]}"


def _is_place(name: str) -> bool:
    return re.fullmatch(r"column \d+", name) is not None


def _comments(task: Task, data: str) -> str:
    fields = [_reference(task, name) for name in task.input_fields]
    answers = f"one for each label, in this order: {_shown(task.label_names)}"
    lines = [
        f"Prompt templates of {_comment(data)}, to edit. `tunefront templates DATA` shows them on three rows.",
        "jinja is the prompt, |||, and the right answer. Line breaks before ||| stand between the two, else a blank.",
        f"answer_choices are the answers, {'those of the row' if task.kind == 'multiple choice' else answers}.",
        f"The fields of a row: {_shown(fields)}.",
        "The first template is used unless --template names another.",
    ]
    if are_numeric(task.label_names):
        lines.insert(3, "The labels are numbers: a model understands words, so write a word for each.")
    return "".join(f"# {line}\n" for line in lines)


def _shown(names: Iterable[str]) -> str:
    shown = [_comment(name) for name in names]
    rest = len(shown) - _MOST_LISTED
    return ", ".join(shown[:_MOST_LISTED]) + (f" and {rest:,} more" if rest > 0 else "")


def _comment(text: str) -> str:
    """Untrusted text in a line of a comment."""
    return f"{printable(text, single_line=True):.100}"


_OTHER_BREAKS = "\r\x85\u2028\u2029"
"""Line breaks of YAML that become a line feed, or a blank, unless they are escaped."""


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    odd = any(letter in text for letter in _OTHER_BREAKS)
    style = '"' if odd else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block)


def _yaml(draft: _Draft) -> str:
    content = {"name": draft.name, "answer_choices": draft.answers, "jinja": draft.jinja}
    written: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    in_prompt = str("answer_choices |" in draft.jinja or "in answer_choices" in draft.jinja).lower()
    return f"{written}metadata: !TemplateMetadata\n  original_task: true\n  choices_in_prompt: {in_prompt}\n"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line.strip() else line for line in text.split("\n"))


def _check_written(text: str, drafts: list[_Draft]) -> None:
    """Reads the text as the file will be read. Errors: UserError if something else comes out."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / TEMPLATES
        file.write_text(text, encoding="utf-8")
        read = [(entry.name, entry.answer_choices, entry.jinja) for entry in read_templates(file)]
    if read != [(draft.name, draft.answers, draft.jinja) for draft in drafts]:
        names = listed([draft.name for draft in drafts])
        raise UserError(
            f"the templates {names} cannot be written as YAML; rename columns or labels with odd characters."
        )
