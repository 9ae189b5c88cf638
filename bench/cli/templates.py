"""`tunefront templates`: the prompts of a few rows by every template of a task, and a first templates.yaml."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, announce, handle_errors, print_plain, print_raw, quiet_libraries
from tunefront.bench.data.sources.file_name import FRAME, FileName, is_file_name
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.files import expanded, writing
from tunefront.bench.suites.overrides import Overrides, Texts

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task
    from tunefront.bench.templates import Template

_ROWS = 3


@options.add_reading_options
def templates(
    data: options.Data,
    texts: Texts,
    backbone: options.PromptedBackbone = None,
    write: options.WriteTemplates = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Show the prompts of three rows by every template of DATA, as a language model reads them.

    For each row the prompt, then every answer with what stands between the two; the right one is marked. Templates that
    cannot be used are named with the reason. --write first writes two or three templates to edit: into templates.yaml
    of a folder, or tickets.templates.yaml next to tickets.csv, where `run` finds them. It overwrites no file. Exit
    code: 0; 2 for a mistake in the call or an unreadable file.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, stopped="Stopped; nothing was written.", prints=True):
        quiet_libraries()
        from tunefront.bench.cli.progress import Display

        with Display(errors) as display:
            display.preparing(f"reading {data}")
            name = task_name(data, texts)
            task, written = _written(name, data) if write else (_load(name), None)
            if backbone is not None:
                display.preparing(f"looking up {backbone}")
                _check_reads_prompts(backbone)
            content = gather(task, backbone)
        if as_json:
            print_raw(json.dumps({**content, "written": None if written is None else str(written)}, indent=1))
            return
        from tunefront.bench.cli.templates_screen import show
        from tunefront.bench.data.reading import describe_task

        console = Console()
        announce(console, f"{task.name}: {describe_task(task)}.")
        show(content, console, backbone)
        if written is not None:
            print_plain(console, f"written: {written}; edit it, and see it with the same command without --write.")


def task_name(data: str, texts: Texts) -> str:
    """The name of the task that DATA means with these options: that of a file or folder, or a task's own name.

    Errors: UserErrors for wrong options, and for options of a task that is no file.
    """
    wrong = ErrorCollector()
    overrides = Overrides.from_texts(options.with_data(texts, data), wrong)
    wrong.raise_if_any()
    (name,) = overrides.tasks or ()
    return name


def _load(name: str) -> Task:
    from tunefront.bench.data.sources import load_task

    return load_task(name)


def _written(name: str, data: str) -> tuple[Task, Path]:
    """The task with a first templates.yaml, and where it was written. Errors: UserError if it cannot be."""
    from tunefront.bench.cli.starter import starter
    from tunefront.bench.data.sources import folder, own_file
    from tunefront.bench.data.sources.own_prompts import prompts_of
    from tunefront.bench.data.sources.own_tables import place_of

    if name.startswith("dir:"):
        reading, file = folder.read(name.removeprefix("dir:")), expanded(name.removeprefix("dir:")) / folder.TEMPLATES
    elif is_file_name(name):
        parts = FileName.parse(name)
        if parts.source == FRAME and parts.prompts is None:
            raise UserError(
                f"{name} is a DataFrame, which has no place for templates; name a file with --prompts FILE."
            )
        file = prompts_of(place_of(parts.path)) if parts.prompts is None else expanded(parts.prompts)
        _refuse_existing(file)  # before it is missed as a file that should be there
        reading = own_file.read(str(replace(parts, prompts=None)), name)
    else:
        raise UserError(f"--write writes the templates of your own files; {name} has no place for them.")
    _refuse_existing(file)
    text = starter(reading.task, reading.label, data)
    with writing(file) as written:
        written.write(text.encode())
    return replace(reading.task, templates=file.absolute()), file


def _refuse_existing(file: Path) -> None:
    if os.path.lexists(file):
        raise UserError(f"{file} is there already and is not overwritten; move it away, or edit it.")


def _check_reads_prompts(backbone: str) -> None:
    """UserError for an unknown backbone, or one that reads no prompts."""
    from tunefront.bench.models.config import check_backbone, family_of

    check_backbone(backbone)
    if family_of(backbone) == "encoder":
        raise UserError(f"{backbone} is an encoder, which reads no prompts; give a language model, or leave it out.")


def gather(task: Task, backbone: str | None = None) -> dict[str, Any]:  # Any: nested values, as in JSON
    """What is shown: every template with the prompts of a few rows, and those left out with the reasons.

    Errors: UserErrors for an unreadable file of templates.
    """
    from tunefront.bench.templates import left_out_of, templates_of

    rows = rows_to_show(task)
    content = [
        {
            "name": template.name,
            "original_task": template.original_task,
            "rows": [_rendered(task, template, split, row, backbone) for split, row in rows],
        }
        for template in templates_of(task).values()
    ]
    return {
        "task": task.name,
        "kind": task.kind,
        "labels": list(task.label_names),
        "file": None if task.templates is None else str(task.templates),
        "used": _used(task),
        "templates": content,
        "left_out": left_out_of(task, generating=True),
    }


def rows_to_show(task: Task) -> list[tuple[str, Row]]:
    """(split, row): the first training row of every label up to three, then more of the first rows."""
    rows = task.splits["train"]
    by_label: dict[object, Row] = {}
    for row in rows:
        by_label.setdefault(row.label, row)
        if len(by_label) == _ROWS:
            break
    chosen = [*by_label.values(), *(row for row in rows[: 2 * _ROWS] if row not in by_label.values())]
    return [("train", row) for row in chosen[:_ROWS]]


def _used(task: Task) -> str | None:
    """The template that a run uses unless the call names another; None if it can use none."""
    from tunefront.bench.templates import find_template

    try:
        return find_template(task, None).name
    except UserError:  # regression, or all templates of the file are left out, which is shown
        return None


def _rendered(
    task: Task, template: Template, split: str, row: Row, backbone: str | None
) -> dict[str, Any]:  # Any: as `gather`
    """A row by a template, or the reason why it cannot be rendered."""
    place = {"split": split, "row": row.id}
    try:
        prompt = template.render(task, row)
        tokens = {} if backbone is None else _tokens(task, template, row, backbone)
    except UserError as error:
        return {**place, "error": str(error)}
    parts = {"prompt": prompt.text, "separator": prompt.separator, "answers": list(prompt.choices)}
    return {**place, **parts, "right": prompt.label, **tokens}


def _tokens(task: Task, template: Template, row: Row, backbone: str) -> dict[str, int]:
    """The tokens of the prompt, and how many the model keeps."""
    from tunefront.bench.models.config import cut_rows
    from tunefront.bench.settings import RunConfig

    cut = cut_rows(backbone, task, template.name, [row], RunConfig())
    if cut is None:
        return {}
    return {"tokens": cut.longest, "kept_tokens": cut.limit if cut.rows else cut.longest}
