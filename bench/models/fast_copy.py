"""Fast copies of a module tree: the result of `copy.deepcopy`, with given tensors, in a fraction of its time."""

from __future__ import annotations

import io
import pickle
import types
import weakref
from collections.abc import Sequence

from torch import Tensor, nn

_SHARED = (str, type, types.FunctionType, types.BuiltinFunctionType, property, weakref.ref)
"""Types that a deep copy shares with its original. A pickle would look functions up by name, which a closure does not
have, and create new strings, which slows every later attribute look-up."""


class CopyTemplate:
    """A model pickled once, without its tensors; unpickling it makes a copy.

    As in a deep copy, modules, hooks, flags and configuration are new; functions and classes are shared with the
    original, which must not change afterwards.
    """

    def __init__(self, model: nn.Module, tensors: Sequence[Tensor]):
        pickled = io.BytesIO()
        pickler = _Pickler(pickled, tensors)
        pickler.dump(model)
        self._pickled, self._shared = pickled.getvalue(), pickler.parts[len(tensors) :]

    def build(self, tensors: Sequence[Tensor]) -> nn.Module:
        """A copy with these tensors in place of the original's, in the same order."""
        return _Unpickler(io.BytesIO(self._pickled), [*tensors, *self._shared]).load()


class _Pickler(pickle.Pickler):
    """Writes numbers in place of tensors and shared parts, which it collects in `parts`."""

    def __init__(self, file: io.BytesIO, tensors: Sequence[Tensor]):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.parts: list[object] = list(tensors)
        self._numbers = {id(tensor): number for number, tensor in enumerate(tensors)}

    def persistent_id(self, part: object) -> int | None:
        if id(part) not in self._numbers and isinstance(part, _SHARED):
            self._numbers[id(part)] = len(self.parts)
            self.parts.append(part)
        return self._numbers.get(id(part))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, parts: Sequence[object]):
        super().__init__(file)
        self._parts = parts

    def persistent_load(self, number: int) -> object:
        return self._parts[number]
