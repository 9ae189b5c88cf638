"""A study with every kind of figure, whose names try to be markup."""

from tunefront.reports.sections.studies.study import Chart, HeatMap, Line, Point, Study
from tunefront.reports.tables import Cell, Column, Table

NASTY = "<script>alert(1)</script> $x$ {{7*7}} #let x=1"


def study(tag="made", name="x"):
    """A heat map, a chart and a table under one name."""
    changes = ((-1.5, -12.25), (None, 0.5))
    heat = HeatMap("heat", name, "Note.", ("0", "1"), ("0", "1"), changes, "points", "last block", "first block", True)
    points = (Point(0, 40.0), Point(8, 60.0, 55.0, 62.5), Point(128, 71.25))
    chart = Chart("curve", name, "", (Line(name, points), Line("b", points[:1], True)), "rows", "100 × accuracy")
    table = Table(f"Scores of {name}", (Column("rows", numeric=False), Column("score")), ((Cell("8"), Cell("60.0")),))
    return Study(tag, f"Study of {name}", (f"What {name} changes.",), (table,), (heat, chart))
