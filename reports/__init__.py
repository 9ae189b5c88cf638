"""Reports: tables, plots and pages from stored records alone, on a machine without a model.

>>> from tunefront import load_records, report                             # doctest: +SKIP
>>> report(load_records("results"), "results/report", where=["dtype=float32"])  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if __name__ != "tunefront.reports":  # a second copy under its bare name
    raise ImportError(f"this package is tunefront.reports, not {__name__}: write `import tunefront.reports`.")

from tunefront.reports.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from tunefront.bench.records import Record
    from tunefront.reports.compare.difference.diff import Difference
    from tunefront.reports.compare.filters import Where
    from tunefront.reports.compare.prices import Prices
    from tunefront.reports.trackers.push import Pushed

__all__ = ["FORMATS", "diff", "push", "write"]


def write(
    records: Sequence[Record],
    out: str | Path,
    formats: Sequence[str] = FORMATS,
    where: Where = None,
    reference: str = "full",
    plans: Sequence[Record] = (),
    notes: Sequence[str] = (),
    places: Mapping[str, str] | None = None,
    prices: str | Path | Prices | None = None,
) -> list[Path] | list[str]:
    """Writes `report.<format>` (and `summary.csv`, `differences.csv`, `ledgers.csv`, `studies.csv`, `plots/`).

    Returns the paths of the files, or their URLs, the report first.

    Args: records, of any status; out, the folder or fsspec URL; formats, a selection from FORMATS; where, which records
    to use: `{"dtype": "float32"}` or `["dtype=float32"]`, for any field of the record, its recipe or its settings, or
    `results`, its folder; reference, the label with which scores are compared; plans, predicted records, compared with
    the records of the same key; notes, additional warnings; places, key of a record -> results folder or URL with its
    predictions, from which the report says how sure the differences are: those of `load_records` are known, and
    `load_records("a", "b")` merges two folders, so that a cell in both counts once; prices, a TOML file of prices, or
    `genai:MODEL` for those in the package genai-prices, from which the report says what training and queries cost.
    Each file is written completely or not at all; those at a URL follow each other at the end. UserError if the records
    cannot be compared, if no record is left, if a format is unknown, if prices cannot be used, or if a URL cannot be
    written.
    """
    from tunefront.reports.formats.writing import write_report

    return write_report(records, out, formats, where, reference, plans, notes, places, prices)


def diff(
    old: Sequence[Record],
    new: Sequence[Record],
    where: Where = None,
    tolerance: float = 0.0,
    checkpoints: bool = False,
    allow: Collection[str] = (),
) -> Difference:
    """What changed from old to new results: for each method the change of its mean score over tasks, with an interval.

    Args: records as `load_records` gives them, which know where their predictions are; of an ordinary list only the
    scores are compared. where, which records of both to use; tolerance, a loss in points (100 times the metric) that is
    no regression; checkpoints, whether a regression is one of these very checkpoints instead of methods that are
    trained again; allow, settings that may differ because they are what is tested.
    `.regressed` says whether a method is significantly worse, or has no score any more; `.worse` names them. UserError
    if nothing can be compared.
    """
    from tunefront.reports.compare.difference.diff import diff as compare

    places = [getattr(records, "places", {}) for records in (old, new)]
    return compare(old, new, places[0], places[1], where, tolerance, checkpoints, allow)


def push(records: Sequence[Record] | str | Path, to: str, experiment: str | None = None) -> Pushed:
    """Pushes records to a tracker, one run per record: a record that is there already makes no second run, and one that
    has changed updates its run. An interrupted push goes on where it stopped.

    Args: records, of any status, or the results folder or URL that has them; to, `mlflow:URI`, a server's or a store's,
    or `tensorboard:DIR`, a folder; experiment, of MLflow, by default `tunefront/` and the name of the results folder.
    UserError if there are no records, if the tracker is unknown, its package is not installed, or the place cannot be
    used; messages never show the password of a URI.
    """
    from tunefront.reports.trackers.push import push as push_records

    return push_records(records, to, experiment)
