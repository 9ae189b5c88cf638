"""The report of a run that ran nothing is kept if nothing that it was drawn from has changed since."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tunefront.bench.files import ROOT, local_folder, writing
from tunefront.bench.records.urls import UrlFolder

NAME = ".inputs.json"
"""The file next to a report with the digest of its inputs, and the sizes and times of its files."""
INPUTS = ("records", "predictions", "plans")
"""The folders of results that a report is drawn from."""
CODE = ("reports", "bench/records", "bench/cli")


def digest_of(results: str, keys: Iterable[str]) -> str | None:
    """A digest of the records with these keys, of all files of results and of the code that draws; None for a URL whose
    listing says nothing of contents. UserError if a URL cannot be read.

    Files count by name, size and time, at a URL by name and MD5: reading thousands takes longer than the rest of such a
    run.
    """
    folder = local_folder(results)
    digest = hashlib.sha256("\n".join(sorted(keys)).encode())
    places = [path for name in CODE for path in _folders(ROOT / name)]
    if folder is not None:
        places = [*(folder / name for name in INPUTS), *places]
    else:
        for name in INPUTS:
            listed = UrlFolder(results).listing(name)
            if any(file.md5 is None for file in listed.values()):
                return None
            known = sorted((file, state.md5) for file, state in listed.items())
            digest.update(f"{results}/{name}:{known}\n".encode(errors="surrogateescape"))
    for place in places:
        for name, *state in _states(place):
            digest.update(f"{place}/{name}:{state}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def kept_report(folder: Path, digest: str) -> list[str] | None:
    """The paths of the report's files, if it was drawn from these inputs and none of them has changed; else None."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        known = json.loads((folder / NAME).read_bytes())
        files = {str(name): tuple(state) for name, state in known["files"].items()}
        if known["digest"] == digest and files and all(_state(folder / name) == files[name] for name in files):
            return [str(folder / name) for name in files]
    return None


def keep_inputs(folder: Path, digest: str, written: Sequence[str]) -> None:
    """Notes what a report was drawn from, after all of its files are written. A folder that cannot be written has none:
    its report is drawn again."""
    files = {Path(path).relative_to(folder).as_posix(): _state(Path(path)) for path in written}
    with suppress(OSError), writing(folder / NAME) as file:
        file.write(json.dumps({"digest": digest, "files": files}).encode())


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _states(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of the files in a folder, in order; none if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
    except OSError:
        return []
    return sorted((name, state.st_size, state.st_mtime_ns) for name, state in found)


def _folders(top: Path) -> Iterator[Path]:
    """A folder of code and all below it, in order, without compiled files."""
    yield top
    yield from sorted(path for path in top.rglob("*") if path.is_dir() and path.name != "__pycache__")
