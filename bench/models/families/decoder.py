"""Decoders (GPT-2, Llama and others): choices are scored side by side after a shared prefix."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tunefront.bench.models.architectures import is_recorded
from tunefront.bench.models.families import logits
from tunefront.bench.models.families.language import NO_LIMIT, LanguageModel, prefixed_input
from tunefront.bench.models.families.leads import NO_LEAD, Led, LedKeys, SeenKeys, causal_mask
from tunefront.bench.models.families.norms import other_final_norm
from tunefront.bench.models.families.windows import possible_window
from tunefront.bench.models.scoring.layouts import DecoderLayout
from tunefront.bench.models.scoring.packing import Packed, Tokens, pack
from tunefront.bench.models.scoring.prefix import CachedPrefix, Demonstrations, KeysValues
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.models.scoring.tokens import Ids, TokenisedPrompt, cut_start
from tunefront.methods.base import Backbone, Batch, Examples, Prefix, Unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tunefront.bench.templates import Prompt


log = logging.getLogger("tunefront")

Kind = tuple[type, str]
"""A model class and its configuration: models of one class may differ in their positions, masks and windows."""

_SIDE_BY_SIDE: dict[Kind, bool] = {}
"""Results of `probe_packing` by kind of model, for the life of the process."""
_PROBES: dict[str, Ids] = {"when choices share one row": [], "after cached keys and values": [9, 4, 7, 5, 6]}
"""What is tried, with the tokens before the queries."""
_TOKENS_TRIED = 12
"""The length of the longer query, if no window may be longer."""
_MOST_ERROR = 1e-3
_ERROR_SHARE = 1e-2
_ROUNDING = 2e-5
"""The largest difference between log-probabilities that may come from rounding: at most `_MOST_ERROR`, and a share of
what another text changes, unless that is below float32's own rounding."""


class Decoder(LanguageModel):
    """A decoder-only model with its own output layer."""

    layout = DecoderLayout()

    def _features(self, batch: Batch) -> Tensor:
        """The last prompt token's state after the final norm."""
        mask, led = batch.inputs["attention_mask"], self._leading()
        positions = (mask.cumsum(1) - 1).clamp(min=0) + self.led
        inputs = {"input_ids": batch.inputs["input_ids"], "attention_mask": mask, "position_ids": positions}
        states = self._base(**inputs, **led.inputs)
        last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
        return states[torch.arange(len(last), device=states.device), last]

    def prefix(self, demonstrations: Examples) -> CachedPrefix:
        """Demonstrations as tokens, not read yet."""
        rows = cast(PromptedExamples, demonstrations)
        return CachedPrefix(Demonstrations.of(rows.prompts, self.tokens, self.room, self._query_room))

    def read(self, prefix: Prefix) -> CachedPrefix:
        """The prefix with the keys and values of its tokens. Nothing is read if choices are scored in separate rows,
        which contain all demonstrations."""
        unread = cast(CachedPrefix, prefix)
        if not prefix.tokens or not self.side_by_side:
            return replace(unread, layers=())
        tokens = unread.demonstrations.ids[: prefix.tokens]
        with torch.no_grad():
            return replace(unread, layers=tuple(self._keys_values(tokens, self._leading() if self.led else NO_LEAD)))

    def _keys_values(self, tokens: Ids, led: Led = NO_LEAD) -> list[KeysValues]:
        """The keys and values of a text after the lead, by layer."""
        from transformers import DynamicCache

        cache = DynamicCache()
        ids = torch.tensor([tokens], device=self.model.device)
        before = self.led if led is not NO_LEAD else 0
        positions = torch.arange(before, before + ids.shape[1], device=ids.device)[None]
        lead_inputs = {"position_ids": positions, **led.inputs} if before else {}
        self._base(input_ids=ids, past_key_values=cache, use_cache=True, **lead_inputs)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def choice_logprobs(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """All rows and choices in one row after the prefix; all rows of a batch keep equally many demonstrations."""
        if prefix is None:
            return self._scored(batch, None, 0, together=True)
        kept = prefixed_input(batch, prefix, "kept").tolist()
        if len(set(kept)) > 1:
            raise ValueError(f"rows that keep {sorted(set(kept))} demonstrations cannot be scored in one batch")
        return self._scored(batch, cast(CachedPrefix, prefix), kept[0], together=True)

    def _logprobs(self, batch: Batch) -> Tensor:
        return self._scored(batch, None, 0, together=False)

    def _scored(self, batch: Batch, prefix: CachedPrefix | None, kept: int, together: bool) -> Tensor:
        queries = unpadded(prefixed_input(batch, prefix, "input_ids"), prefixed_input(batch, prefix, "attention_mask"))
        choices, ids = choices_of(batch), batch.inputs["choice_ids"]
        if not self.side_by_side:
            shots = prefix.demonstrations.ids[: prefix.demonstrations.ends[kept]] if prefix and kept else []
            return self._score_separate_rows([[*shots, *query] for query in queries], choices, ids)
        layers = prefix.head(kept) if prefix and kept else []
        before = int(layers[0][0].shape[2]) if layers else 0
        packed = pack(queries, choices, self.led + before, together).to(ids.device)
        led = self._leading(None if together else batch)
        if led.visible is not None:
            packed.mask[..., : self.led] &= led.visible.to(ids.device)[:, None, None]
        return token_logprobs(self._predictions(packed, layers, led), packed.predicts, ids)

    def make_lead(self, batch: Batch | None = None) -> Led:
        """Reads a prompt once for all rows: its keys and values are the lead."""
        led = super().make_lead(batch)
        if not led.prompts:
            return led
        (prompt,) = led.prompts.values()
        recorder, tokens = SeenKeys(), prompt.shape[0]
        self._base(
            inputs_embeds=prompt[None],
            attention_mask=additive_mask(causal_mask(tokens, prompt.device), self.model.dtype),
            position_ids=torch.arange(tokens, device=prompt.device)[None],
            leads=recorder,
        )
        return replace(led, prompts={}, keys=LedKeys(recorder.recorded))

    def lead(self, module: nn.Module) -> None:
        """Puts the output of `module()` before the tokens of every row; shapes of rows include it from now on."""
        super().lead(module)
        self.layout = replace(self.layout, led=self.led)

    def _stack_modules(self) -> dict[str, PreTrainedModel]:
        if self.needs_separate_rows or not self.side_by_side:
            name = type(self.model).__name__
            raise Unsupported(f"{name} ignores the positions and masks that a lead needs")
        return {"decoder": cast("PreTrainedModel", self.model.get_submodule(self._body))}

    def _run_sample(self, keys: LedKeys) -> object:
        return self._base(**self._sample_inputs(), leads=keys)

    @property
    def side_by_side(self) -> bool:
        """Whether this model scores choices side by side as in plain rows: it respects the mask and the positions that
        separate queries and choices in one row, and continues from cached keys and values of demonstrations.

        Tried once on a few tokens. If the results differ from those of plain rows, each choice is scored in a plain row
        that contains all demonstrations. A model without values cannot be tried; it is assumed to respect them
        unless it has linear biases.
        """
        self.probe_packing()
        return self._known_to_pack

    @property
    def needs_separate_rows(self) -> bool:
        """Whether choices are known to need separate rows, or logits whole texts; runs nothing."""
        return not self._known_to_pack or self.output.way == "whole"

    @property
    def _known_to_pack(self) -> bool:
        """The result of `probe_packing`; before it, whether it is likely. Linear biases (ALiBi) follow from the places
        of tokens in a row, whatever their positions are."""
        if self.kind in _SIDE_BY_SIDE:
            return _SIDE_BY_SIDE[self.kind]
        body = self.model.get_submodule(self._body)
        return not (getattr(self.model.config, "alibi", False) or hasattr(body, "build_alibi_tensor"))

    @cached_property
    def kind(self) -> Kind:
        """The key of a result of `probe_packing`: models with the same key share it."""
        return type(self.model), config_key(self.model.config)

    @cached_property
    def output(self) -> logits.Output:
        """How this checkpoint computes logits from states."""
        inputs = self._sample_inputs()
        return logits.find_output(
            self.model,
            self._plain,
            lambda: self._base(**inputs),
            lambda: self._whole(**inputs),
            lambda found: self._agrees_with_itself([], found),
        )

    def _sample_inputs(self) -> dict[str, Tensor]:
        """Model inputs of a few tokens."""
        words = self.model.get_input_embeddings().weight.shape[0]
        ids = torch.tensor([[5, 6, 7, 4, 9, 8], [8, 4, 4, 5, 7, 6]], device=self.model.device) % words
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def probe(self) -> None:
        """Finds out how to score this checkpoint, before any clock runs and anything is counted."""
        _ = self.output
        self.probe_packing()

    def probe_packing(self) -> None:
        """Finds out, once per kind of model, whether `side_by_side` holds; before any clock runs."""
        kind = self.kind
        if kind in _SIDE_BY_SIDE or not logits.has_values(self.model):
            return
        odd = next((what for what, shots in _PROBES.items() if not self._agrees_with_itself(shots)), None)
        _SIDE_BY_SIDE[kind] = odd is None
        if odd is not None:
            log.warning(
                "%s scores otherwise than its own forward pass %s, so each choice is scored in a separate row, which "
                "takes longer",
                *(kind[0].__name__, odd),
            )
        if is_recorded(self.sites):
            advice = other_final_norm(self.model, self.sites, lambda: self._base(**self._sample_inputs()))
            if advice is not None:
                log.warning("%s", advice)

    def _agrees_with_itself(self, shots: Ids, output: logits.Output | None = None) -> bool:
        """Compares our scores after `shots`, packed, or with this `output` in separate rows, with those of the model's
        whole forward pass on separate rows; one query is twice as long as the window that the configuration may mean,
        if the model takes that many tokens.

        Rows may differ by rounding only. How little that must be depends on the model: a scale or a cap makes all
        differences between its scores small. So it is a share of what another text before a choice changes.
        """
        tried = max(_TOKENS_TRIED, 2 * (possible_window(self.model.config) or 0))
        longest = max(3, min(tried, (self.room or NO_LIMIT) - len(shots) - 3))
        words = self.model.get_input_embeddings().weight.shape[0]
        long = [5, 6, 7, *((5 + place * place) % words for place in range(longest - 3))]
        queries, choices = [long, [8, 9]], [[[4, 5], [6, 7, 8]], [[9, 5, 6], [4, 8]]]
        ids = torch.tensor([[[*choice, 0][:3] for choice in row] for row in choices], device=self.model.device)
        whole = logits.Output("whole")
        try:
            with logits.evaluating(self.model):
                plain = [[*shots, *query] for query in queries]
                separate = self._score_separate_rows(plain, choices, ids, whole)
                if output is None:
                    row = pack(queries, choices, len(shots)).to(ids.device)
                    layers = self._keys_values(shots) if shots else []
                    ours = token_logprobs(self._predictions(row, layers), row.predicts, ids)
                else:
                    ours = self._score_separate_rows(plain, choices, ids, output)
                others = queries if shots else queries[::-1]  # what a token must see, or must not
                moved = self._score_separate_rows(others, choices, ids, whole) - separate
        except logits.FAILURES as error:
            log.debug("%s cannot be scored this way: %s", type(self.model).__name__, error)
            return False
        mask = torch.tensor([[[place < len(choice) for place in range(3)] for choice in row] for row in choices])
        change, off = (value.abs()[mask.to(ids.device)].max() for value in (moved, ours - separate))
        return bool(off < max(_ROUNDING, min(_MOST_ERROR, _ERROR_SHARE * float(change))))

    def _score_separate_rows(
        self,
        queries: Sequence[Tokens],
        choices: Sequence[Sequence[Tokens]],
        ids: Tensor,
        output: logits.Output | None = None,
    ) -> Tensor:
        """The plain computation: every choice after its query in a separate row, padded on the right."""
        rows = [
            (row, place, queries[row], choice)
            for row, row_choices in enumerate(choices)
            for place, choice in enumerate(row_choices)
        ]
        texts = [torch.tensor([*query, *choice[:-1]]) for _, _, query, choice in rows]
        padded = pad_sequence(texts, batch_first=True).to(ids.device)
        mask = pad_sequence([torch.ones_like(text) for text in texts], batch_first=True).to(ids.device)
        read = [
            (number, len(query) - 1 + token)
            for number, (_, _, query, choice) in enumerate(rows)
            for token in range(len(choice))
        ]
        predicts = torch.zeros(ids.shape, dtype=torch.long, device=ids.device)
        done = 0
        for row, place, _, choice in rows:
            predicts[row, place, : len(choice)] = torch.arange(done, done + len(choice), device=ids.device)
            done += len(choice)
        at_row, at_token = torch.tensor(read, device=ids.device).unbind(1)
        scores = self._read(at_row, at_token, output or self.output, input_ids=padded, attention_mask=mask)
        return token_logprobs(scores, predicts, ids)

    def _predictions(self, packed: Packed, layers: list[KeysValues], led: Led = NO_LEAD) -> Tensor:
        """Next-token logits in float32 at the places that `packed` reads, (m, vocabulary)."""
        rows, places = packed.read.unbind(1)
        return self._read(rows, places, self.output, **self._packed_inputs(packed, layers, led))

    def packed_states(self, packed: Packed, layers: list[KeysValues], led: Led) -> Tensor:
        """The states after the final norm at the places that `packed` reads, (m, width)."""
        rows, places = packed.read.unbind(1)
        return self._base(**self._packed_inputs(packed, layers, led))[rows, places]

    def _packed_inputs(self, packed: Packed, layers: list[KeysValues], led: Led) -> dict[str, object]:
        from transformers import DynamicCache

        cache = DynamicCache(layers) if layers else None
        return {
            "input_ids": packed.input_ids,
            "attention_mask": additive_mask(packed.mask, self.model.dtype),
            "position_ids": packed.position_ids,
            "past_key_values": cache,
            "use_cache": cache is not None,
            **led.inputs,
        }

    def _read(self, rows: Tensor, places: Tensor, output: logits.Output, **inputs: object) -> Tensor:
        """Logits (m, vocabulary) at m places of the inputs' rows, in float32: bf16 is too coarse for their differences,
        which decide."""
        if output.way == "whole":
            return self._whole(**inputs)[rows, places].float()
        return self.logits_of(self._base(**inputs)[rows, places], output)

    def logits_of(self, states: Tensor, output: logits.Output | None = None) -> Tensor:
        """Next-token logits (m, vocabulary) in float32 of states (m, width) after the final norm."""
        output = output or self.output
        with torch.autocast(states.device.type, enabled=False):
            if output.way == "own":
                return logits.own_logits(self.model, output.after, states.float()[None])[0]
            return self._plain(states.float())

    def _plain(self, states: Tensor) -> Tensor:
        return cast(Tensor, cast(nn.Module, self.model.get_output_embeddings())(states))

    def _base(self, **inputs: object) -> Tensor:
        """The states after the final norm, (rows, seq, width). No cache by default: a model's own kind of cache may be
        usable by that model only."""
        states = getattr(
            self.model.get_submodule(self._body)(**{"use_cache": False, **inputs}), "last_hidden_state", None
        )
        if states is None:
            raise Unsupported(
                f"{type(self.model).__name__} returns no states in addition to its logits, but they are needed"
            )
        return cast(Tensor, states)

    @cached_property
    def _body(self) -> str:
        """The path of the module that returns states; finding it walks through all modules."""
        return logits.body_paths(self.model)[0]

    def _whole(self, **inputs: object) -> Tensor:
        """The model's own logits, (rows, seq, vocabulary)."""
        return cast(Tensor, self.model(**{"use_cache": False, **inputs}).logits)

    def _split(self, prompts: Sequence[Prompt]) -> list[TokenisedPrompt]:
        tokenised = self.tokens.with_answers(prompts)
        return [replace(prompt, prompt=[*self.tokens.leading, *prompt.prompt]) for prompt in tokenised]

    def _cut(self, ids: Ids, room: int) -> Ids:
        return cut_start(ids, room, len(self.tokens.leading))

    def _reserved(self, longest: int) -> int:
        return longest


def config_key(config: Any) -> str:  # Any: transformers' configurations have no common type with their fields
    """The fields of a configuration that decide what a model computes, for keys of results."""
    fields = {name: value for name, value in config.to_dict().items() if name not in _NOT_COMPUTED}
    return json.dumps({name: fields[name] for name in fields if not name.startswith("_")}, sort_keys=True, default=str)


_NOT_COMPUTED = ("architectures", "dtype", "name_or_path", "torch_dtype", "transformers_version", "use_cache")


def additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as a term of attention scores (0 or -inf): eager attention would add a Boolean mask as 0 and 1."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def token_logprobs(logits: Tensor, predicts: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of each token of `ids` (batch, choices, tokens), from the logits (m, vocabulary) before it."""
    places = torch.zeros(ids.shape, dtype=torch.long, device=ids.device)
    places[:, : predicts.shape[1], : predicts.shape[2]] = predicts
    return logits[places, ids] - logits.logsumexp(-1)[places]


def choices_of(batch: Batch) -> list[list[Tokens]]:
    """The choices of each row as tokens, without padding."""
    rows = zip(batch.inputs["choice_ids"], batch.inputs["choice_mask"], strict=True)
    return [[choice for choice in unpadded(ids, mask) if choice] for ids, mask in rows]


def unpadded(ids: Tensor, mask: Tensor) -> list[Tokens]:
    """Rows of ids without padding, on either side."""
    return [
        [token for token, kept in zip(row, keep, strict=True) if kept]
        for row, keep in zip(ids.tolist(), mask.tolist(), strict=True)
    ]


def _implements_protocol(decoder: Decoder) -> Backbone:
    """Lets the type checker compare the family with the protocol."""
    return decoder
