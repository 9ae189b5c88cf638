"""Names of splits, in file names, in a column of a file, and as keys of an object."""

from __future__ import annotations

import re

SPLITS = ("train", "validation", "test")
OTHER_NAMES = {
    "training": "train",
    "testing": "test",
    **dict.fromkeys(("dev", "development", "valid", "val", "eval", "evaluation"), "validation"),
}
SPLIT = "split"
"""The column that tells the split of rows from an object of splits."""
_IN_COLUMNS = {**OTHER_NAMES, **{split: split for split in SPLITS}, "trial": "validation"}


def split_in(name: object) -> str | None:
    """The split that a value of a column or a key names, alone or in one of its words; None if none does.

    >>> split_in("TRIAL"), split_in("oos_train"), split_in("train or test")
    ('validation', 'train', None)
    """
    words = re.split(r"[\W_]+", str(name).lower()) if isinstance(name, str) and len(name) <= 40 else []
    named = [_IN_COLUMNS[word] for word in words if word in _IN_COLUMNS]
    return named[0] if len(named) == 1 and len(words) <= 2 else None
