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
DRAWN_MS = 10_000
"""Time that scripts of the page have to draw, by the page's own clock, which Chromium turns forward."""
COLOURS = (256, 128, 64, 32)
"""Colours that are kept: a page has few, and the file is a third as large. The first number with which it is small
enough. They are chosen to cover the range, so that the few pixels of a method keep its colour."""
MOST_BYTES = 250_000
NARROWEST = 500
"""Pixels of Chromium's narrowest window."""


def first_screen(page: Path, picture: Path, size: tuple[int, int] = SIZE) -> None:
    """The first screen of an HTML page as a PNG, at most MOST_BYTES large if few colours are enough for that."""
    with tempfile.TemporaryDirectory() as folder:
        shot, address = Path(folder) / "shot.png", page.resolve().as_uri()
        window = (max(size[0], NARROWEST), size[1])
        if window != size:  # a narrower page is laid out in a frame, and cut out
            frame = Path(folder) / "frame.html"
            style = f"width: {size[0]}px; height: {size[1]}px; border: 0"
            frame.write_text(f'<body style="margin: 0"><iframe src="{address}" style="{style}">', encoding="utf-8")
            address = frame.as_uri()
        command = [
            *(os.environ.get("CHROMIUM", "chromium"), "--headless", "--no-sandbox", "--disable-gpu"),
            *("--hide-scrollbars", f"--window-size={window[0]},{window[1]}", f"--user-data-dir={folder}/profile"),
            *(f"--virtual-time-budget={DRAWN_MS}", f"--screenshot={shot}", address),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            pixels = image.convert("RGB").crop((0, 0, *size))
        for colours in COLOURS:
            pixels.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                picture, "PNG", optimize=True
            )
            if picture.stat().st_size <= MOST_BYTES:
                break


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
