"""The backbones that a process keeps from one cell to the next."""

from __future__ import annotations

import gc
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunefront.bench.models.pretrained import Pretrained


class Session:
    """Keeps the last backbones, so that consecutive cells of a backbone read its weights once. The caller that runs
    cells creates one and passes it on; each worker process has its own.

    Args: most, the number of backbones in memory at a time.
    """

    def __init__(self, most: int = 1):
        self._most = most
        self._kept: OrderedDict[tuple[str, str], Pretrained] = OrderedDict()

    def pretrained(self, name: str, device: str = "cpu") -> Pretrained:
        """The weights of a backbone, read from disk if they are not kept; the least recently used ones are dropped
        first. Errors: UserError as `Pretrained`."""
        import torch

        from tunefront.bench.models.pretrained import Pretrained

        if (name, device) not in self._kept:
            while len(self._kept) >= self._most:
                self._kept.popitem(last=False)
                gc.collect()  # the last cell's model holds the weights, maybe in a cycle
            self._kept[name, device] = Pretrained(name, torch.device(device))
        self._kept.move_to_end((name, device))
        return self._kept[name, device]
