"""How each family takes a batch through its stacks: the passes that a shape stands for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

from torch import nn

from tunefront.bench.meters.flops.analytic import elementwise
from tunefront.bench.meters.flops.analytic.anatomy import Anatomy
from tunefront.bench.meters.flops.analytic.leaves import Leaves
from tunefront.bench.meters.flops.analytic.stacks import Stacks
from tunefront.bench.meters.flops.analytic.tally import State, Tally
from tunefront.bench.models.shapes import Shape
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.models.families import Backbone

Kind = Literal["loss", "score", "features"]
"""What a backbone is asked for."""


class Passes(ABC):
    """One walk through a backbone, whose costs go into a tally; `places` as `Leaves` has them."""

    size: int
    """How many numbers of a shape a pass has."""

    def __init__(self, backbone: Backbone, anatomy: Anatomy, tally: Tally, places: dict[str, nn.Module | None]):
        self.model, self.backbone, self.anatomy, self.tally = backbone.model, backbone, anatomy, tally
        self.leaves = Leaves(backbone.model, tally, places)
        self.stacks = Stacks(self.leaves, anatomy, backbone.model.config)

    def loss(self, shape: Shape) -> None:
        """A training batch."""
        self.score(shape)

    @abstractmethod
    def score(self, shape: Shape) -> None:
        """Scoring a batch."""

    def features(self, shape: Shape) -> State:
        """The states that a head reads, (rows, 1, width); nothing to do where they are computed already."""
        if len(shape) == 2 and shape[1] == 0:
            return State(shape[0], 1, self.backbone.width)
        return self._pooled(shape)

    def classified(self, shape: Shape) -> None:
        """Through the features and the head to a loss or to scores."""
        assert self.backbone.head is not None  # asked for only then
        outputs = self.leaves.inserted(self.backbone.head, self.features(shape), "head")
        self.tally.elementwise(elementwise.LOGIT * outputs.size)

    def prefix(self, tokens: int) -> None:
        """Reading demonstrations once, which costs nothing where none are kept."""
        return

    @classmethod
    def fed(cls, kind: Kind, shape: Shape) -> int:
        """Tokens that go in, of prompts and choices together, as computed; none where features are computed already."""
        if len(shape) == 2 and shape[1] == 0:
            return 0
        return sum(cls._fed(kind, one) for one in cls._passes(shape))

    @classmethod
    @abstractmethod
    def _fed(cls, kind: Kind, one: Shape) -> int: ...

    @abstractmethod
    def _pooled(self, shape: Shape) -> State: ...

    @classmethod
    def _passes(cls, shape: Shape) -> Iterator[Shape]:
        return (shape[start : start + cls.size] for start in range(0, len(shape), cls.size))

    def _predicted(self, states: State) -> None:
        """Logits of the vocabulary from each state, and their logarithm's softmax."""
        output = cast(nn.Module, self.model.get_output_embeddings())
        logits = self.leaves.leaf(output, states, "output", "the output layer")
        self.tally.elementwise(elementwise.LOGIT * logits.size)


class EncoderPasses(Passes):
    """Every shape is (rows, tokens a row)."""

    size = 2

    def score(self, shape: Shape) -> None:
        self.classified(shape)

    @classmethod
    def _fed(cls, kind: Kind, one: Shape) -> int:
        rows, seq = one
        return rows * seq

    def _pooled(self, shape: Shape) -> State:
        rows, seq = shape
        states = self.stacks.through(self.anatomy.stack, rows, seq)
        pooling = getattr(self.backbone, "pooling", "first")
        first = replace(states, seq=1)
        if pooling == "mean":
            self.tally.elementwise(2 * states.size)  # masked and summed
        if pooling != "pooler":
            return first
        pooled = self.leaves.through(self.anatomy.pooler, first, "pooler")
        self.tally.elementwise(elementwise.activation("tanh") * pooled.size)
        return pooled


class DecoderPasses(Passes):
    """A pass is (examples, longest query, rows, tokens a row, prefix tokens, states read)."""

    size = 6

    def score(self, shape: Shape) -> None:
        if getattr(self.backbone, "one_by_one", False):
            raise Unsupported("no analytic FLOPs: choices are scored in rows of their own, which shapes do not tell")
        for _, _, rows, seq, before, read in self._passes(shape):
            states = self.stacks.through(self.anatomy.stack, rows, seq, before)
            self._predicted(replace(states, rows=read, seq=1))

    def prefix(self, tokens: int) -> None:
        self.stacks.through(self.anatomy.stack, 1, tokens)

    @classmethod
    def _fed(cls, kind: Kind, one: Shape) -> int:
        examples, query, rows, seq, _, _ = one
        return examples * query if kind == "features" else rows * seq

    def _pooled(self, shape: Shape) -> State:
        examples, query = shape[:2]
        return replace(self.stacks.through(self.anatomy.stack, examples, query), seq=1)


class EncoderDecoderPasses(Passes):
    """A pass is (examples, longest prompt, choices, longest choice)."""

    size = 4

    def loss(self, shape: Shape) -> None:
        """Every choice in a row of its own, after its prompt's states."""
        for examples, prompt, choices, tokens in self._passes(shape):
            memory = replace(self._encoded(examples, prompt), rows=choices)
            self._predicted(self.stacks.through(self.anatomy.stack, choices, tokens, memory=memory))

    def score(self, shape: Shape) -> None:
        """The first step once for each prompt, which keeps keys and values for its choices' other tokens."""
        for examples, prompt, choices, tokens in self._passes(shape):
            memory = self._encoded(examples, prompt)
            self._predicted(self.stacks.through(self.anatomy.stack, examples, 1, memory=memory))
            if tokens > 1:
                kept = replace(memory, rows=choices)
                stack = self.anatomy.stack
                self._predicted(self.stacks.through(stack, choices, tokens - 1, before=1, memory=kept, cached=True))

    @classmethod
    def _fed(cls, kind: Kind, one: Shape) -> int:
        examples, prompt, choices, tokens = one
        if kind == "loss":
            return examples * prompt + choices * tokens
        return examples * (prompt + 1) + (choices * (tokens - 1) if kind == "score" else 0)

    def _pooled(self, shape: Shape) -> State:
        examples, prompt = shape[:2]
        memory = self._encoded(examples, prompt)
        return self.stacks.through(self.anatomy.stack, examples, 1, memory=memory)

    def _encoded(self, examples: int, prompt: int) -> State:
        if self.anatomy.below is None:
            raise Unsupported("no analytic FLOPs: the anatomy of this encoder-decoder has no encoder")
        return self.stacks.through(self.anatomy.below, examples, prompt)


PASSES: dict[str, type[Passes]] = {
    "encoder": EncoderPasses,
    "decoder": DecoderPasses,
    "seq2seq": EncoderDecoderPasses,
}
"""By the family of the sites."""
