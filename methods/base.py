"""The interface between a method and the harness that runs it."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, get_args

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

    from tunefront.methods.sites import Sites

    Keep = nn.Module | str | None

AfterStep = Callable[[int, int], None]
"""What a method does after an optimiser step, given the number of steps done and of all steps."""
Scorer = Callable[["Batch"], "Tensor"]
"""batch -> (batch, choices) scores, higher is better; regression gives (batch, 1), the predicted value."""


class Unsupported(Exception):
    """An unsupported combination of method, backbone and task; the record keeps the message as the reason."""


Optimizer = Literal["adamw", "adafactor"]
Schedule = Literal["linear", "constant"]
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters. A method may declare its paper's; suites and the command line override single fields.

    Each field says in its metadata what it is (`help`). The three weights weigh the losses of language models that
    score choices, as T-Few's; encoders have one loss and ignore them.
    """

    optimizer: Optimizer = field(default="adamw", metadata={"help": "Adafactor has T-Few's settings, without momentum"})
    learning_rate: float = field(default=5e-5, metadata={"help": "the highest rate, at the end of the warm-up"})
    weight_decay: float = field(
        default=0.01, metadata={"help": "decoupled, on matrices only: biases and norms are exempt, as in BERT's code"}
    )
    beta1: float = field(default=0.9, metadata={"help": "AdamW's decay of the mean of the gradients"})
    beta2: float = field(default=0.999, metadata={"help": "AdamW's decay of the mean of their squares"})
    epsilon: float = field(default=1e-6, metadata={"help": "what AdamW adds to the root of that mean"})
    scale_parameter: bool = field(
        default=True, metadata={"help": "whether Adafactor multiplies the rate by each tensor's root mean square"}
    )
    warmup: float = field(
        default=0.1, metadata={"help": "the share of the steps in which the rate rises linearly from zero"}
    )
    schedule: Schedule = field(
        default="linear", metadata={"help": "the rate after the warm-up: down to zero, or constant"}
    )
    clip_norm: float = field(default=1.0, metadata={"help": "the largest norm of the gradients; 0 for no limit"})
    batch_size: int = field(default=32, metadata={"help": "training rows of a step"})
    epochs: float = field(default=3.0, metadata={"help": "passes over the training rows"})
    steps: int | None = field(default=None, metadata={"help": "optimiser steps, in place of epochs"})
    balanced: bool = field(default=False, metadata={"help": "whether every batch has equal shares of the labels"})
    dropout: float | None = field(
        default=None, metadata={"help": "the probability everywhere in the model; none for the checkpoint's own"}
    )
    dtype: Dtype = field(default="float32", metadata={"help": "of computations; bfloat16 by autocast"})
    likelihood_weight: float = field(default=1.0, metadata={"help": "of the right answer's loss, in language models"})
    unlikelihood_weight: float = field(default=1.0, metadata={"help": "of the wrong answers' loss, in language models"})
    length_normalised_weight: float = field(
        default=1.0, metadata={"help": "of the loss over answers by their lengths, in language models"}
    )

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:  # NaN is not
                raise ValueError(f"{name} must be a finite number, got {value}")
            if isinstance(value, int) and type(getattr(Recipe, name)) is float:  # 30 and 30.0 are one recipe, one key
                object.__setattr__(self, name, float(value))
        for name in ("learning_rate", "epsilon", "epochs"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        weights = ("likelihood_weight", "unlikelihood_weight", "length_normalised_weight")
        for name in ("weight_decay", "clip_norm", *weights):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not any(getattr(self, name) for name in weights):
            raise ValueError(f"one of {', '.join(weights)} must be above 0")
        for name in ("beta1", "beta2", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        at_least(0, 10**6, epochs=self.epochs)
        at_least(1, 10**9, batch_size=self.batch_size)
        if self.steps is not None:
            at_least(1, 10**9, steps=self.steps)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        for name, known in (("optimizer", Optimizer), ("schedule", Schedule), ("dtype", Dtype)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Search:
    """The search space of a method in a fair comparison.

    Args: size, the field that sets the number of trained parameters, None if no field does; sizes, its values from
    small to large; learning_rates, the rates to try for each size, from the paper's rate for thousands of steps up to
    rates for a hundred steps.
    """

    size: str | None = None
    sizes: tuple[float, ...] = ()
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)

    def __post_init__(self) -> None:
        if (self.size is None) != (not self.sizes):
            raise ValueError(f"a search over a size needs its field and its values, got {self.size!r} and {self.sizes}")
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError(f"a search needs learning rates above 0, got {self.learning_rates}")


Factor = Literal["input", "trained", "constant"]
"""When a factor of a product needs a gradient: if the module's input does, always, or never."""


@dataclass(frozen=True)
class Product:
    """A matrix product (rows, inner) times (inner, outer) of a plug, a lead or a scorer on features, the same in
    training and in scoring; the closed-form FLOP counts sum these. Modules of `rebuild` declare none: their products
    are counted, not computed in closed form.

    A module's `products(tokens) -> Iterable[Product]` declares them for a pass over `tokens` tokens: `rows` is `tokens`
    for per-token products, and another number for those computed once per pass. The backward pass has one product of
    the same size for each factor that needs a gradient.
    """

    rows: int
    inner: int
    outer: int
    left: Factor = "input"
    right: Factor = "trained"

    def __post_init__(self) -> None:
        for name in ("rows", "inner", "outer"):
            size = getattr(self, name)
            if not isinstance(size, int) or size < 0:
                raise ValueError(f"{name} of a product must be a whole number of at least 0, got {size!r}")
        for name in ("left", "right"):
            if getattr(self, name) not in get_args(Factor):
                known = ", ".join(get_args(Factor))
                raise ValueError(f"{name} of a product must be one of {known}, got {getattr(self, name)!r}")

    @property
    def flops(self) -> int:
        """FLOPs of the forward pass; a multiply-add is two."""
        return 2 * self.rows * self.inner * self.outer


@dataclass(frozen=True)
class Batch:
    """Rows that pass through the model together.

    Shapes: each tensor of `inputs` (batch, seq), or (batch, width) under the name `features` if they are
    precomputed; language models also have `choice_ids` and `choice_mask` (batch, choices, tokens); `labels` (batch,),
    class indices, indices of the right choice, or real values; `rows` (batch,), the rows' indices in their examples.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    rows: Tensor


class Examples(Protocol):
    """Encoded training or test rows; `labels` (rows,), and `features` (rows, n), the result of `Harness.cached`, else
    None."""

    @property
    def labels(self) -> Tensor: ...

    @property
    def features(self) -> Tensor | None: ...

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int]) -> Examples:
        """These rows, in this order."""


class Prefix(Protocol):
    """Demonstrations before every query: `text`, their text to store; `tokens`, their number of tokens; `nbytes`, the
    size of their keys and values, None for a family that cannot cache them."""

    @property
    def text(self) -> str: ...

    @property
    def tokens(self) -> int: ...

    @property
    def nbytes(self) -> int | None: ...


@dataclass(frozen=True)
class Prefilled:
    """The cached keys and values of demonstrations in a decoder, from which a method can start training.

    `layers` are the keys and values of each self-attention in order, each (1, heads, tokens, width), after any rotation
    of keys; `spans` are the start and end of each demonstration's tokens. Leading special tokens belong to no
    demonstration.
    """

    layers: Sequence[tuple[Tensor, Tensor]]
    spans: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class AttentionShape:
    """An attention module: its path, whether it attends to its own stack (`self`) or the encoder's states (`cross`),
    and the shape (1, heads, n, width) of n leading keys or values: `heads` counts key heads, which query heads may
    share."""

    path: str
    kind: Literal["self", "cross"]
    heads: int
    width: int


@dataclass(frozen=True)
class Stack:
    """A stack of blocks: `encoder` or `decoder`, the width of its token embeddings, and its attentions in execution
    order."""

    name: str
    width: int
    attentions: tuple[AttentionShape, ...]

    def of_kind(self, kind: Literal["self", "cross"]) -> tuple[AttentionShape, ...]:
        """The attentions of one kind, one per block."""
        return tuple(attention for attention in self.attentions if attention.kind == kind)


class Backbone(Protocol):
    """A pretrained model as a method sees it; `bench` implements it once per family.

    `head` contains every module that the checkpoint does not provide and the output layer, and is always trained.
    `width` is the size of the pooled state that the head reads.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    sites: Sites

    @property
    def width(self) -> int: ...

    @property
    def outputs(self) -> int:
        """Outputs of a head: the number of classes, 1 for regression; Unsupported on multiple choice, where the index
        of a choice has no fixed meaning."""

    @property
    def head(self) -> nn.Module | None:
        """The head; None for language models that score choices."""

    def freeze(self, keep: Keep | Sequence[Keep] = None) -> None:
        """Turns gradients off everywhere except in `keep`: modules, or regexes that are matched in full on the paths of
        modules (sites) and the names of parameters. Errors: ValueError if a regex matches neither."""

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that require gradients, by name."""

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The encoder, the decoder or both, in execution order; Unsupported if nothing can lead in the model's
        attention."""

    def lead(self, module: nn.Module) -> None:
        """Puts the output of `module()` before the tokens of every row, in loss, scores and features.

        `module()` takes no arguments and returns a mapping: from a stack's name to prompt embeddings (n, width), which
        precede its token embeddings; or from an attention's path to keys and values, each (1, heads, n, width), which
        precede those of its tokens, after any rotation and without a relative position bias. The module becomes the
        model's child `lead`. A lead in a stack's self-attentions takes n positions: tokens start at position n, there
        is room for n fewer, and pooling reads real tokens only. Attach before rows are encoded. A module may also have
        `visible(batch)`, (rows, n), False where a row of a decoder must not attend to the lead in training.
        Errors: Unsupported if the attention takes no lead, or n leaves no room; ValueError for mismatched shapes and
        for a second lead.
        """

    def load(self, path: str) -> None:
        """Loads initial values from a safetensors file into the current trainable parameters and the persistent buffers
        that the method added, except heads.

        Errors: ValueError unless the file has exactly these tensors, in these shapes, and the model's seeds;
        Unsupported if its metadata names another backbone.
        """

    def loss(self, batch: Batch) -> Tensor:
        """The mean training loss of a batch, a scalar."""

    def score(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """Scores of a batch, (batch, choices), -inf for missing choices; after the demonstrations of `prefix`, from
        `Harness.prefill`."""

    def features(self, batch: Batch) -> Tensor:
        """The pooled states that the head reads, (batch, width)."""

    def add_head(self) -> nn.Module:
        """The head; a language model gets a new one on its features, and then classifies with it."""

    def prefix(self, demonstrations: Examples) -> Prefix:
        """Tokenises demonstrations with their answers, in this order; Unsupported on encoders."""

    def read(self, prefix: Prefix) -> Prefix:
        """The prefix after the model has read and cached it; `Harness.prefill` does both."""

    def content_free(self) -> Examples:
        """Content-free prompts of the task, one row per filler ("N/A", "[MASK]", ""); Unsupported if the choices depend
        on the row (Zhao et al. 2021, section 5)."""


class Harness(Protocol):
    """The services of the harness for a method; it owns the clocks, the seeds and the recipe."""

    recipe: Recipe
    generator: torch.Generator

    def train(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        after_step: AfterStep | None = None,
    ) -> None:
        """Runs the recipe's optimiser over `examples`, timed; raises if the loss is not finite.

        `after_step(done, total)` is called after every optimiser step, while the parameters still have the gradients
        of that step; a forecast does not call it.
        """

    def gradients(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        each: Callable[[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """The sum over all rows of `each` applied to a row's gradient, by parameter name: with `torch.square`, the
        diagonal of the empirical Fisher information times the number of rows.

        Every row is a separate batch, in training mode, timed; only one row's gradients are kept at a time. During the
        call exactly these parameters require gradients. In a forecast the sums have no values (see
        `inject.has_values`). Raises if a gradient is not finite.
        """

    def cached(self, name: str, compute: Callable[[Batch], Tensor], examples: Examples) -> Examples:
        """`examples` with each row's inputs replaced by its row of `compute` (named `name`), computed without gradients
        once per method, backbone and rows, and cached; every use is charged the cost."""

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """Tokenises demonstrations and reads them, timed separately; every row scored later follows them."""

    def start_from(self, backbone: Backbone, demonstrations: Examples) -> Prefilled:
        """Lets a decoder read demonstrations as part of training: a method initialises its parameters from their keys
        and values. Every later row, in training and scoring, is tokenised after all of them; their text is not stored.

        Errors: Unsupported if a row has no room for all of them, and for models without a cache of keys and values.
        """

    def scores(self, scorer: Scorer, examples: Examples) -> Tensor:
        """(rows, choices) scores of rows for calibration; their cost is added to that of the prefixes."""


@dataclass(frozen=True)
class Method(ABC):
    """A way to adapt a backbone. Fields are hyper-parameters; `spell(method)` identifies it in every record.

    `search` is the search space for a fair comparison, None without one. `trains` is False for a method that trains
    nothing, whose results no recipe changes: a search runs it once. `files` are the fields that name safetensors files
    for `Backbone.load`; `folders` are the fields that name a folder, with the files that are read there. A record is
    identified by the content of such files, not by their path. `packages` are optional packages that the method runs
    on; their versions are part of a record's key. `scores_are` says what its scores are: `logits`, whose softmax gives
    probabilities, or `shares`, which do once they add up to one.
    """

    name: ClassVar[str]
    recipe: ClassVar[Recipe | None] = None
    trains: ClassVar[bool] = True
    scores_are: ClassVar[Literal["logits", "shares"]] = "logits"
    files: ClassVar[tuple[str, ...]] = ()
    folders: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    packages: ClassVar[tuple[str, ...]] = ()
    search: ClassVar[Search | None] = None

    @property
    def fewest_rows(self) -> int:
        """The minimum number of training rows; with fewer the method is refused before anything runs, or skipped.

        0 only if it uses none, so that every draw and seed gives the same: a suite runs it once for all of them.
        """
        return 1

    def check(self) -> None:  # noqa: B027  # most methods have nothing to check
        """Checks, before anything runs, what takes an optional package or a file; ValueError if something is wrong."""

    @abstractmethod
    def attach(self, backbone: Backbone) -> None:
        """Freezes and injects, in place; raises `Unsupported` with the reason if it cannot run."""

    def fit(self, backbone: Backbone, examples: Examples, harness: Harness) -> Scorer:
        """Learns from `examples`; returns batch -> (batch, choices) scores, higher is better."""
        harness.train(backbone.trainable(), backbone.loss, examples)
        return backbone.score

    def portable(self) -> Method:
        """The method without the files that it reads, for a checkpoint whose tensors hold what they held."""
        return replace(self, **dict.fromkeys(self.files))

    def expect(self, backbone: Backbone, stored: Mapping[str, Tensor]) -> None:  # noqa: B027  # few methods need it
        """Adds to the model what `fit` adds, so that the tensors of a checkpoint find their places: called after
        `attach`, before they are loaded. Most methods add all of it in `attach`."""

    def scorer(self, backbone: Backbone) -> Scorer:
        """The scorer of `fit`, once the tensors of a checkpoint are loaded after `attach`; nothing is trained.

        Override it together with `fit` if these tensors are all that the scorer needs. Errors: Unsupported if they are
        not, or for a `fit` of its own without a `scorer`.
        """
        if type(self).fit is not Method.fit:
            raise Unsupported(f"{self.name} cannot score from its checkpoint alone: its fit() makes more than tensors")
        return backbone.score

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """What was inserted, in the form of another library that computes the same from it; called once the method is
        fitted. `tunefront.methods.counterparts` knows their layouts. A method that scores after the demonstrations of
        one prefix, and inserts nothing, returns an empty form: the harness has their keys and values.

        Errors: Unsupported, with what stands in the way, if there is none, as by default.
        """
        raise Unsupported(f"there is no export of {self.name} to {LIBRARIES[library]}")


Library = Literal["peft", "adapterhub"]
LIBRARIES: Mapping[Library, str] = {"peft": "Hugging Face peft", "adapterhub": "AdapterHub's adapters"}
"""The libraries that a method can be written for, with their names in messages."""


@dataclass(frozen=True)
class Exported:
    """A fitted method in the form of another library: the fields of its configuration, and its tensors by their names
    in that library's file, without prefixes of the whole model. Trained parameters of the backbone itself, and the
    head, are not among them: the harness adds them, or refuses."""

    config: Mapping[str, object]
    tensors: Mapping[str, Tensor]


SEED = "ships_as_seed"
"""The checkpoint of a task, counted in its bytes, contains the trained parameters, the persistent buffers that a method
added (use persistent=False for buffers that can be recomputed), and seeds: a module whose frozen random numbers are
regenerated from a seed has it under this name, an int, and the file's metadata stores it."""


MERGES = "merges"
"""A plug whose output in evaluation mode is W x + b of its input may declare it: a class attribute of this name, True.
Such plugs can be merged into the weights of their leaves, and a cell then also times queries on the merged model."""


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require gradients, by name: these are counted, optimised and saved."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def above(low: float, /, **values: float) -> None:
    """Like `at_least`, with an exclusive lower bound: above(0, alpha=self.alpha)."""
    for name, value in values.items():
        if not value > low:
            raise ValueError(f"{name} must be above {low}, got {value}")
    at_least(low, **values)


def at_least(low: float, high: float = sys.float_info.max, /, **values: float) -> None:
    """Checks hyper-parameters in a method's `__post_init__`: at_least(1, bottleneck=self.bottleneck).

    `high` is the maximum, by default any finite number.
    """
    for name, value in values.items():
        if not value >= low:  # not `value < low`, which is False for NaN
            raise ValueError(f"{name} must be at least {low}, got {value}")
        if value > high:
            raise ValueError(f"{name} must be at most {high:,}, got {value}")
