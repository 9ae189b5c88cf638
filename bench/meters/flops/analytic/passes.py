"""How each family takes a batch through its stacks: the passes that a shape stands for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

from torch import nn

from tunefront.bench.meters.flops.analytic import elementwise
from tunefront.bench.meters.flops.analytic.anatomy import Anatomy
from tunefront.bench.meters.flops.analytic.attention import LedKeys
from tunefront.bench.meters.flops.analytic.leaves import Leaves
from tunefront.bench.meters.flops.analytic.stacks import NOTHING, Led, Stacks
from tunefront.bench.meters.flops.analytic.tally import State, Tally
from tunefront.bench.models.families.leads import NAME
from tunefront.bench.models.shapes import Shape
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.models.families import Backbone

Kind = Literal["loss", "score", "features"]
"""What a backbone is asked for."""


class Passes(ABC):
    """One walk through a backbone, whose costs go into a tally; `places` as `Leaves` has them; training, whether a
    backward pass follows."""

    size: int
    """How many numbers of a shape a pass has."""

    def __init__(
        self,
        backbone: Backbone,
        anatomy: Anatomy,
        tally: Tally,
        places: dict[str, nn.Module | None],
        training: bool = False,
    ):
        self.model, self.backbone, self.anatomy, self.tally = backbone.model, backbone, anatomy, tally
        self.training = training
        self.leaves = Leaves(backbone.model, tally, places)
        self.stacks = Stacks(self.leaves, anatomy, backbone.model.config)
        self._leading: dict[str, Led] | None = None

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

    def lead(self) -> dict[str, Led]:
        """Making what leads, by stack."""
        lengths = self.backbone.lead_lengths
        if not lengths:
            return {}
        module = getattr(self.model, NAME)
        grad = self.leaves.lead(module, sum(lengths.prompts.values()) + sum(lengths.keys.values()))
        found = {}
        for stack in self.backbone.stacks:
            paths = [attention.path for attention in stack.attentions if attention.path in lengths.keys]
            prompt = lengths.prompts.get(stack.name, 0)
            found[stack.name] = Led(prompt, grad and prompt > 0, {p: LedKeys(lengths.keys[p], grad) for p in paths})
        return found

    def _led(self, stack: str) -> Led:
        """What leads in a stack in this pass, which is made once for all of its rows, or has been kept."""
        if self._leading is None:
            kept = not self.training and self.backbone.kept_lead is not None
            with self.tally.nothing(kept):
                self._leading = self.lead()
        return self._leading.get(stack, NOTHING)

    @classmethod
    def fed(cls, kind: Kind, shape: Shape, led: Mapping[str, int]) -> int:
        """Tokens that go in, of prompts and choices together, as computed, with the embeddings that lead in each stack;
        none where features are computed already."""
        if len(shape) == 2 and shape[1] == 0:
            return 0
        return sum(cls._fed(kind, one, led) for one in cls._passes(shape))

    @classmethod
    @abstractmethod
    def _fed(cls, kind: Kind, one: Shape, led: Mapping[str, int]) -> int: ...

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
    def _fed(cls, kind: Kind, one: Shape, led: Mapping[str, int]) -> int:
        rows, seq = one
        return rows * (led.get("encoder", 0) + seq)

    def _pooled(self, shape: Shape) -> State:
        rows, seq = shape
        states = self.stacks.through(self.anatomy.stack, rows, seq, led=self._led("encoder"))
        states = replace(states, seq=seq)
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
        if getattr(self.backbone, "needs_separate_rows", False):
            raise Unsupported("no analytic FLOPs: choices are scored in rows of their own, which shapes do not tell")
        for _, _, rows, seq, before, read in self._passes(shape):
            self._leading = None  # what is not kept is made in every pass
            states = self._read(rows, seq, before - self.backbone.led)
            self._predicted(replace(states, rows=read, seq=1))

    def prefix(self, tokens: int) -> None:
        self._read(1, tokens)

    def lead(self) -> dict[str, Led]:
        """A prompt is read once for all rows, and leads by the keys and values that are left of it."""
        found = super().lead()
        led = found.get("decoder", NOTHING)
        return {"decoder": Led(keys=self.stacks.read(self.anatomy.stack, led))} if led.prompt else found

    def _read(self, rows: int, seq: int, before: int = 0) -> State:
        """Tokens after what leads and `before` others."""
        return self.stacks.through(self.anatomy.stack, rows, seq, before, led=self._led("decoder"))

    @classmethod
    def _fed(cls, kind: Kind, one: Shape, led: Mapping[str, int]) -> int:
        examples, query, rows, seq, _, _ = one
        if kind == "features":
            return examples * query
        return rows * seq + (led.get("decoder", 0) if kind == "loss" else 0)  # read once a batch, or before scoring

    def _pooled(self, shape: Shape) -> State:
        examples, query = shape[:2]
        return replace(self._read(examples, query), seq=1)


class EncoderDecoderPasses(Passes):
    """A pass is (examples, longest prompt, choices, longest choice)."""

    size = 4

    def loss(self, shape: Shape) -> None:
        """Every choice in a row of its own, after its prompt's states."""
        for examples, prompt, choices, tokens in self._passes(shape):
            memory = replace(self._encoded(examples, prompt), rows=choices)
            self._predicted(self._decoded(choices, tokens, memory))

    def score(self, shape: Shape) -> None:
        """The first step once for each prompt, which keeps keys and values for its choices' other tokens."""
        for examples, prompt, choices, tokens in self._passes(shape):
            self._leading = None  # what is not kept is made in every pass
            memory = self._encoded(examples, prompt)
            self._predicted(self._decoded(examples, 1, memory))
            if tokens > 1:
                led = self._led("decoder")
                kept, before, keys = replace(memory, rows=choices), 1 + led.prompt, replace(led, prompt=0, grad=False)
                rest = self.stacks.through(self.anatomy.stack, choices, tokens - 1, before, kept, cached=True, led=keys)
                self._predicted(rest)

    @classmethod
    def _fed(cls, kind: Kind, one: Shape, led: Mapping[str, int]) -> int:
        examples, prompt, choices, tokens = one
        prompt, before = led.get("encoder", 0) + prompt, led.get("decoder", 0)
        if kind == "loss":
            return examples * prompt + choices * (before + tokens)
        return examples * (prompt + before + 1) + (choices * (tokens - 1) if kind == "score" else 0)

    def _pooled(self, shape: Shape) -> State:
        examples, prompt = shape[:2]
        return self._decoded(examples, 1, self._encoded(examples, prompt))

    def _decoded(self, rows: int, tokens: int, memory: State) -> State:
        """The states of tokens that the decoder reads after what leads."""
        states = self.stacks.through(self.anatomy.stack, rows, tokens, memory=memory, led=self._led("decoder"))
        return replace(states, seq=tokens)

    def _encoded(self, examples: int, prompt: int) -> State:
        if self.anatomy.below is None:
            raise Unsupported("no analytic FLOPs: the anatomy of this encoder-decoder has no encoder")
        return self.stacks.through(self.anatomy.below, examples, prompt, led=self._led("encoder"))


PASSES: dict[str, type[Passes]] = {
    "encoder": EncoderPasses,
    "decoder": DecoderPasses,
    "seq2seq": EncoderDecoderPasses,
}
"""By the family of the sites."""
