"""How each family passes a batch through its stacks: the passes of a shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

from torch import nn

from tunefront.bench.meters.flops.analytic import elementwise
from tunefront.bench.meters.flops.analytic.attention import LeadKeys
from tunefront.bench.meters.flops.analytic.modules import Modules
from tunefront.bench.meters.flops.analytic.spec import ArchitectureSpec
from tunefront.bench.meters.flops.analytic.stacks import NO_LEAD, StackLead, Stacks
from tunefront.bench.meters.flops.analytic.tally import State, Tally
from tunefront.bench.models.families.leads import NAME
from tunefront.bench.models.shapes import Shape
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.models.families import Backbone

Kind = Literal["loss", "score", "features"]
"""What a backbone computes."""


class Passes(ABC):
    """One walk through a backbone that adds costs to a tally. `places` as in `Modules`; training, whether a backward
    pass follows."""

    size: int
    """Length of a pass within a shape."""

    def __init__(
        self,
        backbone: Backbone,
        spec: ArchitectureSpec,
        tally: Tally,
        places: dict[str, nn.Module | None],
        training: bool = False,
    ):
        self.model, self.backbone, self.spec, self.tally = backbone.model, backbone, spec, tally
        self.training = training
        self.modules = Modules(backbone.model, tally, places)
        self.stacks = Stacks(self.modules, spec, backbone.model.config)
        self._leads: dict[str, StackLead] | None = None

    def loss(self, shape: Shape) -> None:
        """A training batch."""
        self.score(shape)

    @abstractmethod
    def score(self, shape: Shape) -> None:
        """Scoring a batch."""

    def features(self, shape: Shape) -> State:
        """The states that a head reads, (rows, 1, width); free if they are precomputed."""
        if len(shape) == 2 and shape[1] == 0:
            return State(shape[0], 1, self.backbone.width)
        return self._pooled(shape)

    def classified(self, shape: Shape) -> None:
        """Features, head, then a loss or scores."""
        assert self.backbone.head is not None  # callers check
        outputs = self.modules.forward_plug(self.backbone.head, self.features(shape), "head")
        self.tally.elementwise(elementwise.LOGIT * outputs.size)

    def prefix(self, tokens: int) -> None:
        """Reading demonstrations once; free for families that cache none."""
        return

    def lead(self) -> dict[str, StackLead]:
        """Computes the lead of each stack."""
        lengths = self.backbone.lead_lengths
        if not lengths:
            return {}
        module = getattr(self.model, NAME)
        grad = self.modules.lead(module, sum(lengths.prompts.values()) + sum(lengths.keys.values()))
        leads = {}
        for stack in self.backbone.stacks:
            paths = [attention.path for attention in stack.attentions if attention.path in lengths.keys]
            prompt = lengths.prompts.get(stack.name, 0)
            leads[stack.name] = StackLead(
                prompt, grad and prompt > 0, {p: LeadKeys(lengths.keys[p], grad) for p in paths}
            )
        return leads

    def _stack_lead(self, stack: str) -> StackLead:
        """The lead of a stack in this pass, computed once for all of its rows, or cached before."""
        if self._leads is None:
            kept = not self.training and self.backbone.kept_lead is not None
            with self.tally.paused(kept):
                self._leads = self.lead()
        return self._leads.get(stack, NO_LEAD)

    @classmethod
    def input_tokens(cls, kind: Kind, shape: Shape, lead: Mapping[str, int]) -> int:
        """Input tokens that are computed: prompts, choices, and in each stack the embeddings of its `lead`; 0 for
        precomputed features."""
        if len(shape) == 2 and shape[1] == 0:
            return 0
        return sum(cls._input_tokens(kind, sizes, lead) for sizes in cls._passes(shape))

    @classmethod
    @abstractmethod
    def _input_tokens(cls, kind: Kind, sizes: Shape, lead: Mapping[str, int]) -> int: ...

    @abstractmethod
    def _pooled(self, shape: Shape) -> State: ...

    def _refuse_separate_rows(self) -> None:
        """Unsupported if rows are computed apart from each other."""
        if getattr(self.backbone, "needs_separate_rows", False):
            raise Unsupported(
                "no analytic FLOPs: rows are computed apart from each other, and how does not follow from shapes"
            )

    @classmethod
    def _passes(cls, shape: Shape) -> Iterator[Shape]:
        return (shape[start : start + cls.size] for start in range(0, len(shape), cls.size))

    def _predicted(self, states: State) -> None:
        """Vocabulary logits of each state, and their log-softmax."""
        output = cast(nn.Module, self.model.get_output_embeddings())
        logits = self.modules.forward_module(output, states, "output", "the output layer")
        config = self.model.config
        capped = getattr(config, "final_logit_softcapping", None) is not None
        scaled = hasattr(config, "logits_scaling") or hasattr(config, "logit_scale")
        own = elementwise.CAP * capped + elementwise.FACTOR * scaled
        self.tally.elementwise((elementwise.LOGIT + own) * logits.size)


class EncoderPasses(Passes):
    """Every shape is (rows, tokens per row)."""

    size = 2

    def score(self, shape: Shape) -> None:
        self.classified(shape)

    @classmethod
    def _input_tokens(cls, kind: Kind, sizes: Shape, lead: Mapping[str, int]) -> int:
        rows, seq = sizes
        return rows * (lead.get("encoder", 0) + seq)

    def _pooled(self, shape: Shape) -> State:
        self._refuse_separate_rows()
        rows, seq = shape
        states = self.stacks.forward(self.spec.stack, rows, seq, lead=self._stack_lead("encoder"))
        states = replace(states, seq=seq)
        pooling = getattr(self.backbone, "pooling", "first")
        first = replace(states, seq=1)
        if pooling == "mean":
            self.tally.elementwise(2 * states.size)  # masked and summed
        if pooling != "pooler":
            return first
        pooled = self.modules.forward(self.spec.pooler, first, "pooler")
        self.tally.elementwise(elementwise.activation("tanh") * pooled.size)
        return pooled


class DecoderPasses(Passes):
    """A pass is (examples, longest query, rows, tokens per row, prefix tokens, states read)."""

    size = 6

    def score(self, shape: Shape) -> None:
        self._refuse_separate_rows()
        for _, _, rows, seq, before, read in self._passes(shape):
            self._leads = None  # computed in every pass unless cached
            states = self._read(rows, seq, before - self.backbone.led)
            self._predicted(replace(states, rows=read, seq=1))

    def prefix(self, tokens: int) -> None:
        self._read(1, tokens)

    def lead(self) -> dict[str, StackLead]:
        """A prompt is read once for all rows; its keys and values are the lead."""
        leads = super().lead()
        lead = leads.get("decoder", NO_LEAD)
        return {"decoder": StackLead(keys=self.stacks.read(self.spec.stack, lead))} if lead.prompt else leads

    def _read(self, rows: int, seq: int, before: int = 0) -> State:
        """The states of tokens after the lead and `before` other tokens."""
        return self.stacks.forward(self.spec.stack, rows, seq, before, lead=self._stack_lead("decoder"))

    @classmethod
    def _input_tokens(cls, kind: Kind, sizes: Shape, lead: Mapping[str, int]) -> int:
        examples, query, rows, seq, _, _ = sizes
        if kind == "features":
            return examples * query
        return rows * seq + (lead.get("decoder", 0) if kind == "loss" else 0)  # read once per batch, or before scoring

    def _pooled(self, shape: Shape) -> State:
        examples, query = shape[:2]
        return replace(self._read(examples, query), seq=1)


class EncoderDecoderPasses(Passes):
    """A pass is (examples, longest prompt, choices, longest choice)."""

    size = 4

    def loss(self, shape: Shape) -> None:
        """Every choice in its own row, after the states of its prompt."""
        for examples, prompt, choices, tokens in self._passes(shape):
            memory = replace(self._encoded(examples, prompt), rows=choices)
            self._predicted(self._decoded(choices, tokens, memory))

    def score(self, shape: Shape) -> None:
        """The first step once per prompt; its keys and values are cached for the other tokens of the choices."""
        for examples, prompt, choices, tokens in self._passes(shape):
            self._leads = None  # computed in every pass unless cached
            memory = self._encoded(examples, prompt)
            self._predicted(self._decoded(examples, 1, memory))
            if tokens > 1:
                lead = self._stack_lead("decoder")
                kept, before, keys = replace(memory, rows=choices), 1 + lead.prompt, replace(lead, prompt=0, grad=False)
                rest = self.stacks.forward(self.spec.stack, choices, tokens - 1, before, kept, cached=True, lead=keys)
                self._predicted(rest)

    @classmethod
    def _input_tokens(cls, kind: Kind, sizes: Shape, lead: Mapping[str, int]) -> int:
        examples, prompt, choices, tokens = sizes
        prompt, before = lead.get("encoder", 0) + prompt, lead.get("decoder", 0)
        if kind == "loss":
            return examples * prompt + choices * (before + tokens)
        return examples * (prompt + before + 1) + (choices * (tokens - 1) if kind == "score" else 0)

    def _pooled(self, shape: Shape) -> State:
        examples, prompt = shape[:2]
        return self._decoded(examples, 1, self._encoded(examples, prompt))

    def _decoded(self, rows: int, tokens: int, memory: State) -> State:
        """The states of tokens that the decoder reads after its lead."""
        states = self.stacks.forward(self.spec.stack, rows, tokens, memory=memory, lead=self._stack_lead("decoder"))
        return replace(states, seq=tokens)

    def _encoded(self, examples: int, prompt: int) -> State:
        if self.spec.below is None:
            raise Unsupported(
                "no analytic FLOPs: the specification of this encoder-decoder has no encoder below the decoder"
            )
        self._refuse_separate_rows()
        return self.stacks.forward(self.spec.below, examples, prompt, lead=self._stack_lead("encoder"))


PASSES: dict[str, type[Passes]] = {
    "encoder": EncoderPasses,
    "decoder": DecoderPasses,
    "seq2seq": EncoderDecoderPasses,
}
"""By the family of the backbone's sites."""
