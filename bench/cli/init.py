"""`tunefront init`: writes the suite that one's own data would run, as a commented file to edit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_plain, quiet_libraries, warnings_on
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.files import expanded, local_folder, writing
from tunefront.bench.suites.overrides import OPTIONS, Overrides, Texts

if TYPE_CHECKING:
    from tunefront.bench.suites.expand import Expansion

Named = Annotated[
    str | None, typer.Argument(metavar="[DATA]", help="Your own task: a file, a folder or a task's name.")
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out", metavar="FILE.toml", help="The suite file; default: DATA's name with .toml, else suite.toml."
    ),
]


@options.add_cell_options()
def init(texts: Texts, named: Named = None, out: Out = None, debug: options.Debug = False) -> None:
    """Write a suite file for your own data, to edit.

    The file has what `tunefront run --data DATA` would do, with the same options: methods, lengths, epochs, rates to
    try and rows, each with a comment. `tunefront run FILE.toml` then runs it. Without DATA it is a starter to fill in.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, stopped="Stopped; nothing was written."), warnings_on(errors):
        quiet_libraries()
        from tunefront.bench.cli.progress import Display
        from tunefront.bench.suites.expand import OWN, expand
        from tunefront.bench.suites.written import starter, written

        wrong = ErrorCollector()
        overrides = Overrides.from_texts(options.with_data(texts, named), wrong)
        path = _path(out, overrides)
        if not overrides.tasks:
            _check_no_options(texts)
            with writing(path) as file:
                file.write(starter().encode())
            print_plain(Console(), f"suite: {path}. Name your data in it, then: tunefront run {quote(str(path))}")
            return
        with Display(errors) as display:
            expansion = expand(OWN, overrides, on_status=display.preparing, wrong=wrong)
            odd = _odd(expansion, display.preparing)
        for warning in expansion.warnings:
            print_plain(errors, f"warning: {warning}", "yellow")
        with writing(path) as file:
            file.write(written(expansion, overrides, path.parent, odd).encode())
        print_plain(
            Console(), f"suite: {path} ({len(expansion.cells)} cells). Edit it, then: tunefront run {quote(str(path))}"
        )


def _odd(expansion: Expansion, on_status: Callable[[str], None]) -> list[str]:
    """What `tunefront check` warns of, for each task of the cells."""
    from tunefront.bench.check.inspect import inspect

    backbones: dict[str, str] = {}
    for cell in expansion.cells:
        backbones.setdefault(cell.task, cell.backbone)
    return [
        f"{task}: {finding.text}. {finding.remedy}".rstrip()
        for task, backbone in backbones.items()
        for finding in inspect(task, {}, backbone, linear=False, on_status=on_status).warnings
    ]


def _check_no_options(texts: Texts) -> None:
    """UserError for an option without data to apply it to."""
    given = [f"--{OPTIONS[name].name}" for name, text in texts.items() if text]
    if given:
        raise UserError(f"{given[0]} needs data to write a suite for: tunefront init FILE {given[0]} ...")


def _path(out: str | None, overrides: Overrides) -> Path:
    """The file to write. Errors: UserError if there is one, or if it is no .toml file."""
    if out is not None and local_folder(out) is None:
        raise UserError(f"--out {out}: a suite is a local file; give a path.")
    path = expanded(f"./{_stem(overrides.tasks[0]) if overrides.tasks else 'suite'}.toml" if out is None else out)
    if path.suffix != ".toml":
        raise UserError(f"--out {out}: a suite is a .toml file; give a name that ends in .toml.")
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists already, and is not overwritten; remove it, or give another name with --out.")
    return path


def _stem(task: str) -> str:
    """A file name without suffix for a task."""
    from tunefront.bench.data.sources.file_name import FRAME, FileName, is_file_name

    if is_file_name(task):
        name = FileName.parse(task)
        return f"frame_{name.path}" if name.source == FRAME else Path(name.path).name.partition(".")[0] or "own"
    return task.rstrip("/").replace(":", "/").rpartition("/")[2] or "own"
