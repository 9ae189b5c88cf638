"""What to do about a file, which has no meta.json: options of the command in place of its keys."""

from __future__ import annotations

REMEDIES = {
    'If labels are values, set "task_type": "regression" there.': "If labels are values, add --kind regression.",
    "; meta.json can name others.": ".",
    'set "task_type": "regression" in meta.json': "add --kind regression",
    'set "task_type": "classification" in meta.json': "add --kind classification",
    'set "task_type": "multiple choice" in meta.json': "add --kind 'multiple choice'",
    "or name the inputs as input_fields in meta.json": "or name the columns with --text",
    "name it in input_fields of meta.json": "name it with --text",
    "exclude it with input_fields in meta.json": "name the other inputs with --text",
    "Name the right one as label_field in meta.json.": "Name the right one with --label.",
    "make them equal, or set label_names in meta.json": "make them equal",
    ", set as choices_field in meta.json, or in separate columns, set as label_names": (
        ", or in separate columns named like A, B, C or option1, option2"
    ),
    "list them as label_names in meta.json": "add --kind classification",
}
"""Parts of messages about a folder -> the same for a file."""


def for_file(text: str) -> str:
    """A message about a folder's data, with what to do about a file."""
    for part, instead in REMEDIES.items():
        text = text.replace(part, instead)
    return text
