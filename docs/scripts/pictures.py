"""The pictures of a report: `python -m docs.scripts.pictures RESULTS` writes docs/img/report.png and tradeoff.svg.

RESULTS is what `tunefront run --out RESULTS` left: the whole suite `quick`, as README.md says. Headless Chromium takes
the first screen of the page; `CHROMIUM` names its command where it is not `chromium`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from tests import ROOT
from tunefront.bench.records import load_records
from tunefront.reports import write

FOLDER = ROOT / "docs" / "img"
SIZE = (1400, 900)
"""Width and height of the screen, in pixels."""
COLOURS = 128
"""Colours that are kept: a page has few, and the file is a third as large."""


def first_screen(page: Path, picture: Path) -> None:
    """The first screen of an HTML page as a PNG."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        command = [
            *(os.environ.get("CHROMIUM", "chromium"), "--headless", "--no-sandbox", "--disable-gpu"),
            *("--hide-scrollbars", f"--window-size={SIZE[0]},{SIZE[1]}", f"--user-data-dir={folder}/profile"),
            *(f"--screenshot={shot}", page.resolve().as_uri()),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


def main() -> None:
    """Draws the report again, so that the pictures are those of the code at hand."""
    parser = argparse.ArgumentParser(prog="python -m docs.scripts.pictures", description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    records = load_records(parser.parse_args().results)
    with tempfile.TemporaryDirectory() as folder:
        page, *_ = write(records, folder, ["html", "md"], places=records.places)
        first_screen(page, FOLDER / "report.png")
        plots = sorted(Path(folder, "plots").glob("1-*-tradeoff.svg"))
        text = plots[0].read_text(encoding="utf-8").replace("fill: none", "fill: #ffffff", 1)  # dark pages show through
        FOLDER.joinpath("tradeoff.svg").write_text(text, encoding="utf-8")
    for name in ("report.png", "tradeoff.svg"):
        print(f"{FOLDER.joinpath(name).relative_to(ROOT)}: {FOLDER.joinpath(name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
