"""Prompt templates of one's own data: `tickets.templates.yaml` next to `tickets.csv`, `templates.yaml` in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data.sources.contents import MAGIC
from tunefront.bench.data.sources.file_name import FILE
from tunefront.bench.data.sources.folder import TEMPLATES
from tunefront.bench.data.sources.own_tables import place_of
from tunefront.bench.data.sources.reading import EXCEL, FORMATS
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from tunefront.bench.data.sources.file_name import FileName


def prompts_of(path: Path) -> Path:
    """The file in which the prompt templates of a file or folder are looked for, whether it is there or not.

    >>> prompts_of(Path("tickets.csv.gz")).name
    'tickets.templates.yaml'
    """
    if path.is_dir():
        return path / TEMPLATES
    stem = path.name
    while Path(stem).suffix.lower() in (*FORMATS, *EXCEL, *MAGIC):
        stem = Path(stem).stem
    return path.with_name(f"{stem}.{TEMPLATES}")


def find_prompts(path: Path, name: FileName) -> Path | None:
    """The file of a task's prompt templates, None if it has none. Errors: UserError if the name states one that is not
    there."""
    if name.prompts is None:
        file = prompts_of(path.absolute())
        return file if name.source == FILE and file.is_file() else None
    file = place_of(name.prompts)
    if not file.is_file():
        raise UserError(f"--prompts {name.prompts} is no file; give a file of prompt templates, such as {TEMPLATES}.")
    return file.absolute()
