"""The wording of a difference: the subject, our value, and the paper's."""

from __future__ import annotations

from collections.abc import Sequence


def differs(what: str, ours: object, theirs: object) -> str:
    """A sentence without its full stop.

    >>> differs("learning_rate", 0.0003, 0.003)
    'learning_rate is 0.0003, not 0.003'
    """
    return f"{what} is {written(ours)}, not {written(theirs)}"


def one_of(values: Sequence[object]) -> str:
    """The values of a paper, joined by or.

    >>> one_of([3e-05, 0.0003]), one_of([8])
    ('3e-05 or 0.0003', '8')
    """
    texts = [written(value) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def written(value: object) -> str:
    """A value as written in a recipe."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def count_of(names: Sequence[str], what: str) -> str:
    """The number of names, and the first of them.

    >>> count_of(["a", "b"], "weights"), count_of(["a"], "weights")
    ('2 weights (a first)', 'a')
    """
    return names[0] if len(names) == 1 else f"{len(names)} {what} ({names[0]} first)"
