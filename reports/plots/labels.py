"""Label placement: every point has its label, and no label covers another label or a point."""

from __future__ import annotations

import math
from dataclasses import dataclass

ANGLES = tuple(math.radians(angle) for angle in (0, 180, 90, 270, 30, 330, 150, 210, 60, 300, 120, 240))
DISTANCES = (7, 10, 14, 19, 25, 33, 43, 55, 70, 88, 110, 135)
PREFERENCE = (0, 4, 2, 3, 3, 3, 5, 5, 4, 4, 6, 6)
"""The cost of each angle, added to that of the distance: right of the point is best."""

FEW = 12
"""Up to this number of points, several orders are tried and the cheapest result is kept."""


@dataclass(frozen=True)
class Box:
    """A rectangle in points of the page, y upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box, gap: float = 0.0) -> bool:
        """Whether two rectangles are closer than the gap."""
        return (
            self.left < other.right + gap
            and other.left < self.right + gap
            and self.bottom < other.top + gap
            and other.bottom < self.top + gap
        )

    def inside(self, other: Box) -> bool:
        """Whether this rectangle lies within the other."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The point of the rectangle nearest to (x, y)."""
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)


def place(
    points: list[tuple[float, float]],
    sizes: list[tuple[float, float]],
    bounds: Box,
    bars: list[Box] | None = None,
    radius: float = 5.0,
) -> tuple[list[Box], int]:
    """A box for the label of every point, and the number of labels that still overlap something.

    Args: points and sizes of labels, in points of the page; bounds of the labels; bars, rectangles that labels should
    avoid (those of intervals); radius of a marker. Labels of crowded points are placed first; in two more rounds each
    label may move to a better place.
    """
    markers = [Box(x - radius, y - radius, x + radius, y + radius) for x, y in points]
    crowded = sorted(range(len(points)), key=lambda i: sum(math.dist(points[i], other) for other in points))
    orders = [crowded]
    if len(points) <= FEW:
        by_place = sorted(crowded, key=lambda i: points[i])
        orders += [by_place, by_place[::-1], sorted(crowded, key=lambda i: -points[i][1])]
    trials = [_place_in_order(order, points, sizes, bounds, markers, bars or []) for order in orders]
    boxes = min(trials, key=lambda trial: trial[0])[1]
    clashes = sum(
        any(box.overlaps(other) for j, other in enumerate(boxes) if j != i)
        or any(box.overlaps(marker) for marker in markers)
        for i, box in enumerate(boxes)
    )
    return boxes, clashes


def _place_in_order(
    order: list[int],
    points: list[tuple[float, float]],
    sizes: list[tuple[float, float]],
    bounds: Box,
    markers: list[Box],
    bars: list[Box],
) -> tuple[float, list[Box]]:
    """Places labels in the given order in three rounds. Returns their total cost and their boxes."""
    placed: dict[int, Box] = {}
    costs: dict[int, float] = {}
    for _ in range(3):
        for i in order:
            others = [box for j, box in placed.items() if j != i]
            leaders = [(points[j], box.nearest(*points[j])) for j, box in placed.items() if j != i]
            costs[i], placed[i] = _best(i, points, sizes[i], bounds, markers, others, leaders, bars)
    return sum(costs.values()), [placed[i] for i in range(len(points))]


def _best(
    i: int,
    points: list[tuple[float, float]],
    size: tuple[float, float],
    bounds: Box,
    markers: list[Box],
    others: list[Box],
    leaders: list[tuple[tuple[float, float], tuple[float, float]]],
    bars: list[Box],
) -> tuple[float, Box]:
    best, lowest = None, math.inf
    for distance in DISTANCES:
        if distance > lowest:
            break
        for angle, dislike in zip(ANGLES, PREFERENCE, strict=True):
            box = _box(points[i], size, angle, distance)
            cost = distance + dislike
            if not box.inside(bounds):
                cost += 3000
            cost += 1000 * sum(box.overlaps(other, 1.5) for other in others)
            cost += 800 * sum(box.overlaps(marker) for marker in markers)
            cost += 7 * sum(box.overlaps(bar) for bar in bars)
            if cost >= lowest:
                continue
            end = box.nearest(*points[i])
            if distance > DISTANCES[1]:
                cost += 100 * sum(_crosses(points[i], end, other) for other in others)
                cost += 40 * sum(_crosses(points[i], end, m) for j, m in enumerate(markers) if j != i)
            cost += 100 * sum(_crosses(start, stop, box) for start, stop in leaders)
            if cost < lowest:
                best, lowest = box, cost
    assert best is not None  # DISTANCES is not empty
    return lowest, best


def _box(point: tuple[float, float], size: tuple[float, float], angle: float, distance: float) -> Box:
    """The box of a label at a distance from its point in a direction."""
    x, y = point[0] + distance * math.cos(angle), point[1] + distance * math.sin(angle)
    width, height = size
    across = round(math.cos(angle), 6)
    left = x if across > 0.2 else x - width if across < -0.2 else x - width / 2
    up = round(math.sin(angle), 6)
    bottom = y - height / 2 if abs(up) < 0.3 else y - height * 0.2 if up > 0 else y - height * 0.8
    return Box(left, bottom, left + width, bottom + height)


def _crosses(start: tuple[float, float], stop: tuple[float, float], box: Box) -> bool:
    """Whether a line crosses a rectangle, tested at a few points of the line."""
    return any(
        box.left < start[0] + (stop[0] - start[0]) * share < box.right
        and box.bottom < start[1] + (stop[1] - start[1]) * share < box.top
        for share in (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
    )
