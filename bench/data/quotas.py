"""How many rows of each label make up a part of the rows, so that every label has as large a share of it."""

from __future__ import annotations

from collections import Counter


def quotas(counts: Counter[int | float], size: int) -> dict[int | float, int]:
    """Rows to take per label, `size` in total: largest remainder, a label's last row last."""
    total = sum(counts.values())
    shares = {label: counts[label] * size // total for label in sorted(counts)}
    for _ in range(size - sum(shares.values())):
        shares[min(shares, key=lambda label: _surplus(counts[label], shares[label], size, total))] += 1
    return shares


def _surplus(count: int, quota: int, size: int, total: int) -> tuple[bool, int]:
    return count - quota < 2, quota * total - count * size
