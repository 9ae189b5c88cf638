"""The picture of the rooms: `python -m docs.scripts.rooms` writes docs/img/rooms.svg from the imports of the sources.

A box is a room or a few that are drawn as one; it stands above everything that it imports. A line is drawn where one
box imports another that it does not reach through a third. Circles number the rooms that a cell goes through.
"""

from __future__ import annotations

from collections import Counter
from html import escape

from tests import ROOT
from tests.structure import cycles, file_imports
from tests.test_layers import ORDER, room_of

PICTURE = ROOT / "docs" / "img" / "rooms.svg"

CONTRACT, COMMON, UNITS = "methods: the contract", "bench: a few files", "reports: small files"
BOXES = {
    CONTRACT: "base, sites, inject, registry, spelling",
    "methods": "one file per method",
    COMMON: "errors, files, settings, cells",
    "bench.data": "tasks, draws of rows, metrics",
    "bench.records": "what is kept of a cell; no torch",
    "bench.templates": "prompts, and their sandbox",
    "bench.models": "fresh copies, families, scores",
    "bench.meters": "parameters, FLOPs, memory, time",
    "bench.suites": "from a suite file to cells",
    "bench.check": "what is odd about one's rows",
    "bench.training": "the harness methods train under",
    "bench.checkpoints": "what was trained, and exports",
    "bench.execution": "from cells to records; grids",
    "bench.forecast": "costs before running",
    "bench.probe": "what a model is, and its sites",
    "bench.papers": "what papers print and do",
    "bench.api": "run() and plan() in Python",
    UNITS: "units, names, tables",
    "reports.trackers": "MLflow, TensorBoard",
    "reports.compare": "records that may be compared",
    "reports.costs": "what each cost is made of",
    "reports.sections": "what is said",
    "reports.plots": "what is drawn",
    "reports.formats": "HTML, PDF, CSV and others",
    "reports": "write()",
    "bench.cli": "the command",
    "bench.pytest_plugin": "pytest --benchmark",
}
"""Box -> what is in it, from the ground up."""
DRAWN_AS = {
    **{room: CONTRACT for room in ORDER if room.startswith("methods.")},
    **dict.fromkeys(
        ("bench", "bench.errors", "bench.files", "bench.quiet", "bench.collector", "bench.settings", "bench.cells"),
        COMMON,
    ),
    **dict.fromkeys(("reports.units", "reports.names", "reports.tables"), UNITS),
}
"""Rooms that share a box."""
WALK = (
    *("bench.cli", "bench.suites", "bench.execution", "bench.data", "bench.models", "methods", "bench.training"),
    *("bench.meters", "bench.records", "reports"),
)
"""The rooms that a cell goes through, in order."""

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 218, 52, 26, 26, 20
COLUMNS = {"methods": 1, "bench": 2, "reports": 1}
"""How many boxes of a package fit into a row."""
COLOURS = {"methods": "#fdf1d8", "bench": "#e3eefb", "reports": "#e5f4e7"}


def graph() -> dict[str, set[str]]:
    """Box -> the boxes that it imports."""
    found: dict[str, set[str]] = {box: set() for box in BOXES}
    for file, imported in file_imports(ROOT).items():
        box = _box(file)
        found[box] |= {_box(other) for other in imported} - {box}
    if cycles(found):
        raise ValueError(f"boxes that import each other: {cycles(found)}")
    return found


def picture() -> str:
    """The SVG."""
    boxes = graph()
    places = _places(boxes)
    width = max(x for x, _ in places.values()) + WIDTH + MARGIN
    height = max(y for _, y in places.values()) + HEIGHT + MARGIN
    lines = [_line(places[box], places[other]) for box in boxes for other in sorted(_direct(boxes, box))]
    drawn = [_drawn(box, *places[box]) for box in boxes]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, '
        'sans-serif" role="img">\n<title>Rooms of Tunefront; imports run downwards</title>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    )
    return "\n".join([head, *lines, *drawn, "</svg>\n"])


def _box(file: str) -> str:
    room = room_of(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    box = DRAWN_AS.get(room, room)
    if box not in BOXES:
        raise ValueError(f"the picture has no box for the room {room}; add it to BOXES in docs/scripts/rooms.py")
    return box


def _reached(boxes: dict[str, set[str]], box: str) -> set[str]:
    return boxes[box].union(*(_reached(boxes, other) for other in boxes[box]))


def _direct(boxes: dict[str, set[str]], box: str) -> set[str]:
    """What a box imports and does not reach through another box."""
    return boxes[box].difference(*(_reached(boxes, other) for other in boxes[box]))


def _places(boxes: dict[str, set[str]]) -> dict[str, tuple[int, int]]:
    """Box -> its upper left corner: the package gives the column, the longest way down the row; from a full row a box
    moves up."""
    rows: dict[str, int] = {}
    starts = {"methods": 0, "bench": COLUMNS["methods"], "reports": COLUMNS["methods"] + COLUMNS["bench"]}
    columns: dict[str, int] = {}
    taken: Counter[tuple[str, int]] = Counter()
    for box in BOXES:
        package = box.split(".")[0].split(":")[0]
        row = 1 + max((rows[other] for other in boxes[box]), default=-1)
        while taken[package, row] == COLUMNS[package]:
            row += 1
        rows[box], columns[box] = row, starts[package] + taken[package, row]
        taken[package, row] += 1
    top = max(rows.values())
    return {
        box: (MARGIN + columns[box] * (WIDTH + GAP_X), MARGIN + (top - row) * (HEIGHT + GAP_Y))
        for box, row in rows.items()
    }


def _line(upper: tuple[int, int], lower: tuple[int, int]) -> str:
    (x1, y1), (x2, y2) = (upper[0] + WIDTH // 2, upper[1] + HEIGHT), (lower[0] + WIDTH // 2, lower[1])
    bend = (y2 - y1) // 2
    path = f"M{x1} {y1} C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"
    return f'<path d="{path}" fill="none" stroke="#9aa5b1" stroke-width="1.4"/>'


def _drawn(box: str, x: int, y: int) -> str:
    colour = COLOURS[box.split(".")[0].split(":")[0]]
    parts = [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{colour}" stroke="#7b8794"/>',
        f'<text x="{x + 12}" y="{y + 22}" font-size="14" font-weight="bold" fill="#1f2933">{escape(box)}</text>',
        f'<text x="{x + 12}" y="{y + 41}" font-size="12" fill="#3e4c59">{escape(BOXES[box])}</text>',
    ]
    if box in WALK:
        number = WALK.index(box) + 1
        parts += [
            f'<circle cx="{x + WIDTH - 16}" cy="{y + 17}" r="11" fill="#b44d12"/>',
            f'<text x="{x + WIDTH - 16}" y="{y + 21}" font-size="12" font-weight="bold" text-anchor="middle" '
            f'fill="#ffffff">{number}</text>',
        ]
    return "\n".join(parts)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
