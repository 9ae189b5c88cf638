"""peft: any configuration of Hugging Face's peft, trained here or already finished (github.com/huggingface/peft)."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from tunefront.methods.base import (
    SEED,
    AfterStep,
    AttentionShape,
    Backbone,
    Batch,
    Examples,
    Exported,
    Harness,
    Library,
    Method,
    Recipe,
    Scorer,
    Search,
    Unsupported,
)
from tunefront.methods.counterparts import PROMPT, check_prompt
from tunefront.methods.inject import has_values, is_norm, matching
from tunefront.methods.peft_adapters import (
    CONFIG_FILE,
    TENSORS_FILE,
    check_adapter,
    compare_names,
    load,
    load_head,
    misfit,
    read_adapter,
    take_heads,
    tensors_of,
    title,
)
from tunefront.methods.peft_configs import (
    ABOUT_A_MODEL,
    ADAPTER,
    Wrapper,
    canonical,
    check_patterns,
    completed,
    config_class,
    defaults,
    first_line,
    read_object,
    read_settings,
    require_package,
    without,
)
from tunefront.methods.sites import Sites
from tunefront.methods.unrecorded import Unrecorded

log = logging.getLogger("tunefront")


_INSIDE = "base_model.model."
"""What peft's names of tensors start with, before the name of a module of the model."""


class Attached(nn.Module):
    """Marks a model that peft has changed. It keeps peft's wrapper of the model, which some types need in training, and
    the seed of the random numbers that were drawn for modules that train nothing."""

    def __init__(self, wrapper: Wrapper, seed: int):
        super().__init__()
        self._wrapper = (wrapper,)  # not a child module, since it contains the model
        setattr(self, SEED, seed)

    @property
    def wrapper(self) -> Wrapper:
        """peft's wrapper of the model."""
        return self._wrapper[0]


class Lead(nn.Module):
    """The prompt, or the keys and values, that one of peft's prompt encoders computes, as a lead of the backbone.

    Args: encoder, peft's module; config, its configuration, completed for the model; stack, the name of the stack that
    reads a prompt; attentions, those that read keys and values, in order; none for a prompt of embeddings.
    Source: `PeftModel.get_prompt`, which repeats the same for every row of a batch.
    """

    def __init__(self, encoder: nn.Module, config: Any, stack: str, attentions: Sequence[AttentionShape]):
        super().__init__()
        self.encoder, self.stack, self.attentions = encoder, stack, tuple(attentions)
        self.length, self.parts = int(config.num_virtual_tokens), int(config.num_transformer_submodules)
        self.heads, self.stored = int(config.num_attention_heads), bool(config.inference_mode)
        self.takes_tasks = hasattr(config, "num_tasks")

    def forward(self) -> dict[str, Any]:
        device = next(self.encoder.parameters()).device
        if self.attentions:
            return self._keys(torch.arange(self.length, device=device)[None])
        places = torch.arange(self.length * self.parts, device=device)[None]
        if self.takes_tasks:
            prompt = self.encoder(places, torch.zeros(1, dtype=torch.long, device=device))
        else:
            prompt = self.encoder.embedding.weight[None] if self.stored else self.encoder(places)  # type: ignore[union-attr, index]
        return {self.stack: prompt[0, : self.length]}

    def products(self, tokens: int) -> Iterator[Any]:
        """Unsupported: peft's modules declare no products."""
        raise Unsupported("no analytic FLOPs: the modules of peft declare no products")

    def _keys(self, places: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The keys and values (1, heads, length, width) by the path of their attention. With two parts, peft repeats
        all states, and of four states of a block the first two belong to its self-attention."""
        states = self.encoder.embedding.weight[None] if self.stored else self.encoder(places)  # type: ignore[union-attr, index]
        states = states.view(self.length, -1, self.heads, self.attentions[0].width)
        states = torch.cat([states] * self.parts, dim=1).permute(1, 2, 0, 3)[:, None]
        step = 2 * self.parts
        return {
            attention.path: (states[step * place], states[step * place + 1])
            for place, attention in enumerate(self.attentions)
        }


@dataclass(frozen=True)
class Peft(Method):
    """Attaches any configuration of peft with peft's own code, which replaces modules of the model.

    Fields: type, one of peft's types, such as LORA or VERA, by default LORA unless a folder is given; config, its
    configuration as a JSON object, such as {"r":4}, without the fields that name a model; folder, a finished adapter
    (adapter_config.json and adapter_model.safetensors), which is scored as it is and not trained.
    A configuration without target modules gets those of this suite's sites: queries and values, or the fused
    projection; for IA3 keys, values and the inner feed-forward activation; for LN_TUNING every layer norm. peft's own
    defaults are lists of suffixes, which match other modules too in some models. On an architecture without a record of
    sites it gets every linear layer of the model (`all-linear`; for LN_TUNING every norm). Prompts have 20 virtual
    tokens and prefixes 10 unless the configuration says otherwise.
    Prompts, prefixes and cartridges are computed by peft's modules and read by the backbone, as those of our own
    methods. ADALORA and ADAMSS get the number of the step after each one, and ADALORA also its orthogonal
    regularization, as peft's training does.
    A classification head of a finished adapter is copied to the head of the backbone where it has the same layers; its
    outputs are taken in the order of the task's labels.
    Recipe and search: those of lora. Closed-form FLOPs are null, because peft's modules declare none; they are counted.
    Differs: an encoder pools real tokens, while a pooler in peft reads the first virtual token of a prompt.
    Errors: Unsupported, with peft's own words, for what peft cannot attach to a model; for a type whose computation is
    not only in the layers that it replaces; for a configuration that needs rows before it can start; and for a finished
    adapter that does not fit.
    """

    name: ClassVar[str] = "peft"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=5e-4, weight_decay=0.1, warmup=0.06)
    search: ClassVar[Search | None] = Search()
    folders: ClassVar[Mapping[str, tuple[str, ...]]] = {"folder": (CONFIG_FILE, TENSORS_FILE)}
    packages: ClassVar[tuple[str, ...]] = ("peft",)
    type: str | None = None
    config: str | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        if self.folder is not None:
            given = [name for name in ("type", "config") if getattr(self, name) is not None]
            if given:
                raise ValueError(
                    f"folder is a finished adapter with its own type and configuration: leave out {' and '.join(given)}"
                )
            for name, value in (("trains", False), ("search", None)):  # of this instance alone: it trains nothing
                object.__setattr__(self, name, value)
            return
        object.__setattr__(self, "type", (self.type or "LORA").upper())
        if self.config is not None:
            settings = without(ABOUT_A_MODEL, read_object(self.config, "config"))
            if settings.pop("peft_type", self.type) != self.type:
                raise ValueError(f"config is that of another type than type={self.type}: leave its peft_type out")
            object.__setattr__(self, "config", canonical(settings))

    @property
    def fewest_rows(self) -> int:
        """None for a finished adapter."""
        return 1 if self.folder is None else 0

    def check(self) -> None:
        """ValueError without the package, for an unknown type or field, and for a folder that is no adapter."""
        kind, settings = self._settings()
        try:
            with _quietly():
                config_class(kind)(**completed(kind, settings, "CAUSAL_LM", width=1))
        except (ValueError, TypeError) as error:
            raise ValueError(f"peft refuses this configuration of {kind}: {first_line(error)}") from error
        if self.folder is not None:
            check_adapter(Path(self.folder).expanduser())

    def attach(self, backbone: Backbone) -> None:
        kind, settings = self._settings()
        _refuse(kind, settings, finished=self.folder is not None)
        own, head = set(map(id, backbone.model.parameters())), backbone.head
        backbone.freeze()
        seed = torch.initial_seed()  # set by the run
        with _quietly(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with _without_head(backbone):
                wrapper, rest = self._wrapped(backbone, kind, settings)
            config = wrapper.peft_config[ADAPTER]
            if config.is_prompt_learning:
                _add_lead(kind, backbone, wrapper)
            backbone.model.add_module("peft", Attached(wrapper, seed))
            _ship_frozen(backbone.model, own)
            _try(kind, backbone)
        if not backbone.trainable():
            raise Unsupported(f"peft's {kind} put nothing that trains into {title(backbone.model)}")
        if head is not None and self.folder is not None:
            load_head(backbone, rest, self.folder)
        elif rest:
            why = f"it has a classification head ({min(rest)}), and a language model scores answers without one"
            raise Unsupported(misfit(str(self.folder), backbone.model, why))
        elif head is not None:
            head.requires_grad_(True)

    def fit(self, backbone: Backbone, examples: Examples, harness: Harness) -> Scorer:
        if self.folder is not None:
            return backbone.score
        loss, after_step = _training(backbone, cast(Attached, backbone.model.peft).wrapper)
        harness.train(backbone.trainable(), loss, examples, after_step)
        return backbone.score

    def scorer(self, backbone: Backbone) -> Scorer:
        return backbone.score

    def portable(self) -> Peft:
        """A finished adapter as its configuration."""
        if self.folder is None:
            return self
        kind, settings = self._settings()
        return Peft(type=kind, config=canonical(without(ABOUT_A_MODEL, settings)))

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """peft's own configuration and tensors; a finished adapter is a folder of peft already."""
        if library != "peft":
            return super().exported(library, backbone)
        if self.folder is not None:
            raise Unsupported(f"{self.folder} is an adapter of peft already")
        import peft

        wrapper = cast(Attached, backbone.model.peft).wrapper
        config = wrapper.peft_config[ADAPTER]
        fields = without(ABOUT_A_MODEL, config.to_dict())
        targeted = getattr(wrapper.base_model, "targeted_module_names", None)
        if targeted and not isinstance(fields.get("target_modules"), str):  # by their ends: now by their whole paths
            fields["target_modules"] = "|".join(map(re.escape, targeted))
        with _quietly():
            stored = peft.get_peft_model_state_dict(cast(Any, wrapper), save_embedding_layers=False)
        inside = {name.removeprefix(_INSIDE): value for name, value in stored.items() if name.startswith(_INSIDE)}
        outside = stored.keys() - {f"{_INSIDE}{name}" for name in inside}
        if config.is_prompt_learning and set(stored) == {PROMPT}:
            if self.type not in ("PREFIX_TUNING", "CARTRIDGE"):
                check_prompt(backbone)
            return Exported(fields, dict(stored))
        if outside:
            raise Unsupported(f"{self.type} of peft has tensors outside of the model's modules ({min(outside)})")
        return Exported(fields, inside)

    def _settings(self) -> tuple[str, dict[str, Any]]:
        """The type and the fields of the configuration. ValueError if the package is missing, or if the type, a field,
        or the folder's file is wrong."""
        require_package()
        if self.folder is not None:
            kind, settings = read_adapter(Path(self.folder).expanduser())
        else:
            kind, settings = str(self.type), read_settings(str(self.type), self.config)
        check_patterns(settings)
        return kind, settings

    def _wrapped(self, backbone: Backbone, kind: str, settings: Mapping[str, Any]) -> tuple[Wrapper, dict[str, Tensor]]:
        """The model, which peft has changed in place, in peft's wrapper; and the tensors of a finished adapter that
        belong to a head. Unsupported, with peft's words, if that fails."""
        import peft

        model, task = backbone.model, {"decoder": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}.get(backbone.sites.family)
        arguments = _with_targets(backbone, kind, completed(kind, settings, task, backbone.width))
        try:
            config = config_class(kind)(**arguments)
            config.inference_mode = self.folder is not None and config.is_prompt_learning
            tensors = {} if self.folder is None else tensors_of(Path(self.folder).expanduser(), model)
            heads = take_heads(config, tensors, model)
            wrapper = peft.PeftModel(cast(Any, model), config)
        except Unsupported:
            raise
        except Exception as error:  # peft raises errors of many types
            raise Unsupported(_peft_says(kind, model, error)) from error
        if self.folder is not None:
            compare_names(self.folder, model)
            load(wrapper, tensors, self.folder)
        return wrapper, heads


def _with_targets(backbone: Backbone, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The fields with target modules from the sites of the backbone, if the configuration names none."""
    sites, known, model = backbone.sites, defaults(kind), backbone.model
    given = [name for name in ("target_modules", "target_parameters") if arguments.get(name)]
    arguments = {**arguments, **_without_prefix(model, arguments)}
    if given or "target_modules" not in known or kind in _OWN_TARGETS:
        return arguments
    if isinstance(sites, Unrecorded):
        norms = [re.escape(path) for path, module in model.named_modules() if is_norm(module)]
        return {**arguments, "target_modules": "|".join(norms) if kind == "LN_TUNING" else "all-linear"}
    chosen: list[str | None] = [sites.norms]
    if "feedforward_modules" in known:
        chosen = [*_projections(sites, sites.key, sites.value), sites.ffn_down]
        arguments = {"feedforward_modules": _target(backbone, chosen[-1:], arguments), **arguments}
    elif kind != "LN_TUNING":
        chosen = _projections(sites, sites.query, sites.value)
    return {**arguments, "target_modules": _target(backbone, chosen, arguments)}


def _projections(sites: Sites, *separate: str | None) -> list[str | None]:
    """The sites of projections, or the fused one in their place."""
    return list(separate) if all(separate) else [sites.fused_projection]


def _without_prefix(model: nn.Module, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Regexes of an adapter that was made on transformers' class around this model (`bert.encoder...`), as regexes of
    the same modules here; empty for those that match as they are."""
    prefix = str(getattr(model, "base_model_prefix", ""))
    paths = [path for path, _ in model.named_modules()]
    found = {}
    for name in ("target_modules", "feedforward_modules"):
        regex = arguments.get(name)
        if not isinstance(regex, str) or not prefix or any(re.fullmatch(regex, path) for path in paths):
            continue
        inside = [path for path in paths if re.fullmatch(regex, f"{prefix}.{path}")]
        if inside:
            found[name] = "|".join(map(re.escape, inside))
    return found


_OWN_TARGETS = ("ADAPTION_PROMPT", "TRAINABLE_TOKENS")
"""Types that act on whole attentions or on embeddings, for which peft finds the modules itself."""


def _target(backbone: Backbone, sites: Sequence[str | None], arguments: Mapping[str, Any]) -> str | list[str]:
    """The modules of sites as peft takes them: a regex, which it matches in full; or the ends of their paths, after the
    number of the layer, if the configuration also chooses layers, which peft does not do with a regex. Unsupported,
    with the reason, if the architecture lacks a site."""
    for site in sites:
        matching(backbone.model, site)
    regex = "|".join(f"(?:{site})" for site in sites)
    if any(arguments.get(name) is not None for name in ("layers_to_transform", "layers_pattern")):
        return sorted({re.sub(r"^.*?\.\d+\.", "", path) for path in matching(backbone.model, regex)})
    return regex


def _refuse(kind: str, settings: Mapping[str, Any], finished: bool) -> None:
    """Unsupported for what peft's layers alone do not compute, or need rows for."""
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.tuners.tuners_utils import BaseTuner

    tuner = next(cls for name, cls in PEFT_TYPE_TO_TUNER_MAPPING.items() if name.value == kind)
    if issubclass(tuner, BaseTuner) and tuner.forward is not BaseTuner.forward and kind != "ADALORA":
        raise Unsupported(
            f"peft's {kind} computes more than its layers do ({tuner.__name__}.forward), and this suite calls the "
            "parts of a model, not peft's wrapper of it"
        )
    if finished:
        return
    if hasattr(tuner, "calculate_loss"):
        raise Unsupported(f"peft's {kind} trains with a loss of its own ({tuner.__name__}.calculate_loss)")
    if settings.get("init_lora_weights") in ("eva", "lora_ga"):  # peft starts from other values without a word
        raise Unsupported(
            f"init_lora_weights={settings['init_lora_weights']} of peft starts from activations or gradients of "
            "training rows, which nobody has computed when it is attached"
        )
    for name in ("alora_invocation_tokens", "arrow_config", "monteclora_config"):
        if settings.get(name):
            raise Unsupported(f"peft's {name} acts in its wrapper of a model, of which this suite calls only the parts")


@contextmanager
def _quietly() -> Iterator[None]:
    """Python warnings of peft, as messages of the log: a part of a configuration without effect, and at a lower level
    all others."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text, category in {str(warning.message): warning.category for warning in caught}.items():
        log.log(logging.WARNING if issubclass(category, RuntimeWarning) else logging.DEBUG, "peft: %s", text)


@contextmanager
def _without_head(backbone: Backbone) -> Iterator[None]:
    """The model without its head, which peft must not change."""
    model, head = backbone.model, backbone.head
    if head is not None:
        del model.head
    try:
        yield
    finally:
        if head is not None:
            model.add_module("head", head)


def _add_lead(kind: str, backbone: Backbone, wrapper: Wrapper) -> None:
    """Puts what peft's prompt encoder computes before every row; Unsupported if it does not fit the model's shapes."""
    lead = _lead(backbone, wrapper, wrapper.peft_config[ADAPTER])
    try:
        backbone.lead(lead)
    except (ValueError, RuntimeError) as error:
        raise Unsupported(_peft_says(kind, backbone.model, error)) from error


def _lead(backbone: Backbone, wrapper: Wrapper, config: Any) -> Lead:
    """What peft's prompt encoder puts before the rows; Unsupported where the backbone would read it differently."""
    encoder = cast(nn.ModuleDict, wrapper.prompt_encoder)[ADAPTER]
    if config.inference_mode:
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(not name.startswith("delta_"))  # CPT's changes, which it has added already
    first, last = backbone.stacks[0], backbone.stacks[-1]
    if config.peft_type not in ("PREFIX_TUNING", "CARTRIDGE"):
        if config.peft_type == "MULTITASK_PROMPT_TUNING" and first is not last:
            raise Unsupported("peft's MULTITASK_PROMPT_TUNING computes no answers of an encoder-decoder, only its loss")
        if config.inference_mode and backbone.sites.family == "encoder":
            raise Unsupported(
                "a prompt before an encoder's text was trained with a head on its first virtual token, which peft "
                "pools, and this suite pools real tokens"
            )
        return Lead(encoder, config, first.name, ())
    if hasattr(backbone.model.config, "relative_attention_num_buckets"):
        raise Unsupported(
            f"peft gives the keys of a prefix in {title(backbone.model)} a relative position bias, and a lead has none"
        )
    attentions = last.of_kind("self")
    if len(attentions) != config.num_layers:
        blocks = f"{config.num_layers} blocks, and {title(backbone.model)} has {len(attentions)}"
        raise Unsupported(f"this {config.peft_type.value} of peft has keys and values for {blocks}")
    return Lead(encoder, config, "", attentions)


def _ship_frozen(model: nn.Module, own: set[int]) -> None:
    """Turns parameters that peft added and does not train into buffers, so that they are part of a checkpoint."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in own and not parameter.requires_grad:
                delattr(module, name)
                module.register_buffer(name, parameter.data)


def _try(kind: str, backbone: Backbone) -> None:
    """Reads four tokens; Unsupported, with peft's words, if its modules cannot."""
    model, training = backbone.model, backbone.model.training
    if not has_values(next(model.parameters())):
        return
    ids = torch.tensor([[2, 3, 2, 3]], device=next(model.parameters()).device)
    row = torch.zeros(1, dtype=torch.long)
    try:
        with torch.no_grad():
            backbone.features(Batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, row, row))
    except Exception as error:  # as in attaching
        raise Unsupported(_peft_says(kind, model, error)) from error
    finally:
        model.train(training)


def _peft_says(kind: str, model: nn.Module, error: Exception) -> str:
    values = "" if has_values(next(model.parameters())) else " without the values of its weights"
    return f"peft's {kind} on {title(model)}{values}: {first_line(error)}"


def _training(backbone: Backbone, wrapper: Wrapper) -> tuple[Callable[[Batch], Tensor], AfterStep | None]:
    """The loss, and what peft's types with a budget do after every step: ADALORA and ADAMSS."""
    tuner: Any = wrapper.base_model
    config: Any = wrapper.peft_config[ADAPTER]
    allocate = getattr(tuner, "update_and_allocate", None) if not config.is_prompt_learning else None
    if allocate is None:
        return backbone.loss, None
    if not hasattr(config, "orth_reg_weight"):
        return backbone.loss, lambda done, total: allocate(done)

    def loss(batch: Batch) -> Tensor:
        return backbone.loss(batch) + config.orth_reg_weight * _distance_from_orthogonal(backbone.trainable())

    def after_step(done: int, total: int) -> None:
        if config.tinit + config.tfinal >= total:
            raise ValueError(
                f"ADALORA needs more steps than tinit + tfinal, {config.tinit + config.tfinal}; this run has {total}"
            )
        config.total_step = total
        allocate(done)

    return loss, after_step


def _distance_from_orthogonal(parameters: Mapping[str, nn.Parameter]) -> Tensor:
    """The mean over ADALORA's factors of |P P^T - 1|, Frobenius; of P^T P for those on the output side.

    Source: `AdaLoraModel.forward`, which adds it to the loss of peft's wrapper.
    """
    terms = []
    for name, factor in parameters.items():
        if "lora_A" in name or "lora_B" in name:
            square = factor @ factor.T if "lora_A" in name else factor.T @ factor
            terms.append(torch.linalg.norm(square - torch.eye(len(square), device=square.device, dtype=square.dtype)))
    return torch.stack(terms).mean()
