"""What a model is, and which methods run on it: from its files, and by trying each method on tensors without values."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from tunefront.bench.errors import UserError
from tunefront.bench.execution.capabilities import default_methods
from tunefront.bench.forecast import limits
from tunefront.bench.forecast.fake_models import FakePretrained, fake_pretrained, folder_of
from tunefront.bench.forecast.synthetic import PlainTextTemplate
from tunefront.bench.models.architectures import is_recorded
from tunefront.bench.models.config import check_backbone, warnings_of
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.families.encoder import limit_of
from tunefront.bench.models.families.language import LanguageModel
from tunefront.bench.models.pooling import folder_pooling
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.weights import headers, size
from tunefront.bench.probe.proposal import Proposal, propose
from tunefront.bench.probe.trying import ROWS, Tried, tried
from tunefront.bench.quiet import quiet
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.sites import SITES, Sites
from tunefront.methods.spelling import label

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger("tunefront")

_FOUND = {
    "pooler": "its weights, which have one",
    "first": "its tokenizer, which starts every text with the same token",
    "mean": "its tokenizer, which starts texts with their own tokens",
}
"""Where the pooling of an encoder without a record comes from; see `found_pooling`."""


@dataclass(frozen=True)
class Probe:
    """What a model is. Facts that only its weights or its tokenizer tell are None without them.

    `model_class` is the class of transformers that loads it; `params` of the pretrained model, as used here; `dtypes`,
    numbers of stored tensors by safetensors' names; `weight_bytes` of its files; `room_tokens`, the most tokens of a
    text, or of a prompt with its answer; `pooling`, what an encoder's head reads, and `pooling_from`, where that is
    said; `tokens`, the size of the tokenizer, and `embeddings`, the rows of the embedding; `tied`, whether a language
    model's output layer is its embedding; `sites`, the record by field, None without one; `proposal`, for an
    architecture without one; `methods` as they run now, and `methods_then` with the proposal.
    """

    name: str
    architecture: str
    model_class: str
    family: str
    params: int
    blocks: int | None
    width: int
    dtypes: Mapping[str, int] | None
    weight_bytes: int | None
    room_tokens: int | None
    pooling: str | None
    pooling_from: str | None
    tokens: int | None
    embeddings: int
    tied: bool | None
    sites: Mapping[str, Any] | None  # Any: texts, flags and sets, as the fields
    proposal: Proposal | None
    methods: tuple[Tried, ...]
    methods_then: tuple[Tried, ...]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        """The fields as JSON values."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def probe(
    name: str, files: Sequence[str] = (), on_step: Callable[[str], None] = lambda _: None, find_sites: bool = True
) -> Probe:
    """Looks at a backbone: a name, a folder, a Hub id, a preset, or the path of a config.json.

    Args: files, of methods of your own to try too; on_step gets what is done next; find_sites, whether to look for the
    sites of an architecture without a record, for which its weights are loaded.
    Errors: UserError for a model that cannot be used, with the reason, and for a file without methods.
    """
    methods = default_methods(files)
    on_step(f"reading {name}")
    folder = folder_of(name)
    if folder is not None:
        check_backbone(name)
    model = fake_pretrained(name, None if folder is not None else ROWS)
    limits.check(name, ROWS)
    backbone = _backbone(model)
    embeddings = _embeddings(backbone)
    recorded = is_recorded(model.sites)
    proposal = None if recorded or not find_sites else _proposed(name, model, on_step)
    now = _try_all(methods, name, on_step)
    then: tuple[Tried, ...] = ()
    if proposal is not None:
        with _using(model.config.model_type, proposal.sites):
            then = _try_all(methods, name, on_step)
    if not any(each.runs for each in (*now, *then)):
        raise UserError(f"no method runs on {name}: {now[0].method}: {now[0].reason}.")
    stored = None if folder is None else headers(folder)
    return Probe(
        name=name,
        architecture=str(model.config.model_type),
        model_class=type(backbone.model).__name__,
        family=model.sites.family,
        params=model.params,
        blocks=getattr(model.config, "num_hidden_layers", None),
        width=backbone.width,
        dtypes=None if stored is None else dict(Counter(tensor.dtype for tensor in stored.values())),
        weight_bytes=None if folder is None else size(folder),
        room_tokens=_room(backbone),
        pooling=model.pooling,
        pooling_from=None if model.pooling is None else _pooling_source(folder, model),
        tokens=None if folder is None else len(model.tokenizer),
        embeddings=embeddings,
        tied=_tied(backbone),
        sites=_plain(vars(model.sites)) if recorded else None,
        proposal=proposal,
        methods=now,
        methods_then=then,
        warnings=tuple(warnings_of(name)) if folder is not None else (),
    )


def _backbone(source: FakePretrained | Pretrained) -> Backbone:
    """The model on synthetic rows; UserError if its own forward pass fails."""
    try:
        return source.fresh_copy(ROWS.task(source.sites.family), seed=0, prompting=Prompting(PlainTextTemplate()))
    except Unsupported as reason:
        raise UserError(f"{reason}.") from reason


def _try_all(methods: Sequence[Method], name: str, on_step: Callable[[str], None]) -> tuple[Tried, ...]:
    """Every method on tensors without values; where that fails, on the model's own weights if there are any."""
    found = []
    real = functools.cache(lambda: Pretrained(name, torch.device("cpu")))
    for method in methods:
        on_step(f"trying {label(method)}")
        result = tried(method, fake_pretrained(name, ROWS))
        if not result.certain and folder_of(name) is not None:
            with quiet():
                result = tried(method, real())
        found.append(result)
    return tuple(found)


def _proposed(name: str, model: FakePretrained, on_step: Callable[[str], None]) -> Proposal | None:
    """The sites of the model's own weights if there are any, else from its names."""
    on_step("finding sites")
    if folder_of(name) is None:
        return propose(_backbone(model), model.pooling, None)
    with quiet():
        pretrained = Pretrained(name, torch.device("cpu"))
        backbone = _backbone(pretrained)
    task = ROWS.task(pretrained.sites.family)
    return propose(backbone, pretrained.pooling, backbone.encode(task, task.splits["train"]).batch(range(2)))


@contextmanager
def _using(architecture: str, sites: Sites) -> Iterator[None]:
    """Uses a record within the block."""
    known: MutableMapping[str, Sites] = SITES
    known[architecture] = sites
    try:
        yield
    finally:
        del known[architecture]


def _embeddings(backbone: Backbone) -> int:
    """The rows of the embedding; UserError for a model that has none (CANINE hashes letters)."""
    try:
        return int(backbone.model.get_input_embeddings().weight.shape[0])
    except (NotImplementedError, AttributeError) as error:
        raise UserError(
            f"{type(backbone.model).__name__} has no embedding with a row for each token, which is needed here. Give a "
            "model that has one."
        ) from error


def _room(backbone: Backbone) -> int | None:
    if isinstance(backbone, LanguageModel):
        return backbone.room
    longest = limit_of(backbone.model.config, backbone.tokenizer, None)
    return longest if longest < 10**8 else None


def _pooling_source(folder: Any, model: FakePretrained) -> str:  # Any: a path or None
    if folder is not None and folder_pooling(folder) is not None:
        return "its pooling configuration"
    return "the architecture's record" if is_recorded(model.sites) else _FOUND[str(model.pooling)]


def _tied(backbone: Backbone) -> bool | None:
    """Whether the output layer is the embedding; None for a model without one."""
    if not isinstance(backbone, LanguageModel):
        return None
    output, embedding = backbone.model.get_output_embeddings(), backbone.model.get_input_embeddings()
    return getattr(output, "weight", None) is getattr(embedding, "weight", False)


def _plain(value: Any) -> Any:  # Any: JSON values
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value
