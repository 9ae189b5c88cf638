"""What a process keeps from one cell to the next."""

from __future__ import annotations

import gc
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunefront.bench.models.pretrained import Pretrained


class Session:
    """The backbones that were used last, so that cells of one backbone read its weights once. Whoever runs cells makes
    one and hands it on; each worker process has its own.

    Args: most, how many backbones are in memory at a time.
    """

    def __init__(self, most: int = 1):
        self._most = most
        self._kept: OrderedDict[tuple[str, str], Pretrained] = OrderedDict()

    def pretrained(self, name: str, device: str = "cpu") -> Pretrained:
        """The weights of a backbone, read from disk where they are not kept; those that were used longest ago go before
        others are read. Errors: UserError as `Pretrained`."""
        import torch

        from tunefront.bench.models.pretrained import Pretrained

        if (name, device) not in self._kept:
            while len(self._kept) >= self._most:
                self._kept.popitem(last=False)
                gc.collect()  # the last cell's model may be part of a cycle, and holds the weights
            self._kept[name, device] = Pretrained(name, torch.device(device))
        self._kept.move_to_end((name, device))
        return self._kept[name, device]
