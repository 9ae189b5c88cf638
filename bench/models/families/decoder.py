"""Decoders (GPT-2, OPT, GPT-NeoX, Llama, Mistral, Qwen2): choices are scored side by side after a shared prefix."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tunefront.bench.models.families import logits
from tunefront.bench.models.families.language import NO_LIMIT, LanguageModel, following
from tunefront.bench.models.families.leads import NOTHING, Led, LedKeys, SeenKeys, look_back
from tunefront.bench.models.families.windows import unsure
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

Kind = tuple[type, int | None]
"""A class of models, and the longest window that its configuration may mean."""

_SIDE_BY_SIDE: dict[Kind, bool] = {}
"""What was found out about kinds of models, for the life of the process."""


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
        """Demonstrations in tokens, not read yet."""
        rows = cast(PromptedExamples, demonstrations)
        return CachedPrefix(Demonstrations.of(rows.prompts, self.tokens, self.room, self._query_room))

    def read(self, prefix: Prefix) -> CachedPrefix:
        """The prefix with the keys and values of its tokens; nothing is read where choices are scored in rows of their
        own, with all demonstrations in them."""
        from transformers import DynamicCache

        unread = cast(CachedPrefix, prefix)
        if not prefix.tokens or not self.side_by_side:
            return replace(unread, layers=())
        cache = DynamicCache()
        with torch.no_grad():
            ids = torch.tensor([unread.demonstrations.ids[: prefix.tokens]], device=self.model.device)
            positions = torch.arange(self.led, self.led + ids.shape[1], device=ids.device)[None]
            placed = {"position_ids": positions, **self._leading().inputs} if self.led else {}
            self._base(input_ids=ids, past_key_values=cache, use_cache=True, **placed)
        return replace(unread, layers=tuple((layer.keys, layer.values) for layer in cache.layers))

    def choice_logprobs(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """All rows and choices in one row after the prefix; the rows of a batch keep equally many demonstrations."""
        if prefix is None:
            return self._scored(batch, None, 0, together=True)
        kept = following(batch, prefix, "kept").tolist()
        if len(set(kept)) > 1:
            raise ValueError(f"rows that keep {sorted(set(kept))} demonstrations cannot be scored in one batch")
        return self._scored(batch, cast(CachedPrefix, prefix), kept[0], together=True)

    def _logprobs(self, batch: Batch) -> Tensor:
        return self._scored(batch, None, 0, together=False)

    def _scored(self, batch: Batch, prefix: CachedPrefix | None, kept: int, together: bool) -> Tensor:
        queries = _lists(following(batch, prefix, "input_ids"), following(batch, prefix, "attention_mask"))
        ids, mask = batch.inputs["choice_ids"], batch.inputs["choice_mask"]
        choices = [
            [choice for choice in _lists(of_one, kept) if choice] for of_one, kept in zip(ids, mask, strict=True)
        ]
        if not self.side_by_side:
            told = prefix.demonstrations.ids[: prefix.demonstrations.ends[kept]] if prefix and kept else []
            return self._one_by_one([[*told, *query] for query in queries], choices, ids)
        layers = prefix.head(kept) if prefix and kept else []
        before = int(layers[0][0].shape[2]) if layers else 0
        packed = pack(queries, choices, self.led + before, together).to(ids.device)
        led = self._leading(None if together else batch)
        if led.visible is not None:
            packed.mask[..., : self.led] &= led.visible.to(ids.device)[:, None, None]
        return _at(self._predictions(packed, layers, led), packed.predicts, ids)

    def make_lead(self, batch: Batch | None = None) -> Led:
        """A prompt leads by the keys and values that are left of reading it once for all rows."""
        led = super().make_lead(batch)
        if not led.prompts:
            return led
        (prompt,) = led.prompts.values()
        read, tokens = SeenKeys(), prompt.shape[0]
        self._base(
            inputs_embeds=prompt[None],
            attention_mask=_added(look_back(tokens, prompt.device), self.model.dtype),
            position_ids=torch.arange(tokens, device=prompt.device)[None],
            leads=read,
        )
        return replace(led, prompts={}, keys=LedKeys(read.found))

    def lead(self, module: nn.Module) -> None:
        """Puts what `module()` gives before the tokens of every row, which their shapes say from now on."""
        super().lead(module)
        self.layout = replace(self.layout, led=self.led)

    def _stack_modules(self) -> dict[str, PreTrainedModel]:
        if self.needs_separate_rows or not self.side_by_side:
            name = type(self.model).__name__
            raise Unsupported(f"{name} does not heed the positions and masks that what leads before a text needs")
        return {"decoder": cast("PreTrainedModel", self.model.get_submodule(logits.bodies(self.model)[0]))}

    def _run_few(self, keys: LedKeys) -> object:
        return self._base(**self._few(), leads=keys)

    @property
    def side_by_side(self) -> bool:
        """Whether this architecture heeds the mask and the positions that keep queries and choices in one row apart.

        Tried once on a few tokens: where it does not give what plain rows give, plain rows are scored, one for each
        choice with all demonstrations in it. A model without values cannot be tried: it is taken to heed them.
        """
        self.probe_packing()
        return _SIDE_BY_SIDE.get(self.kind, True)

    @property
    def needs_separate_rows(self) -> bool:
        """Whether it was found out that choices need rows of their own, or logits whole texts; tries nothing."""
        return _SIDE_BY_SIDE.get(self.kind) is False or self.output.way == "whole"

    @property
    def kind(self) -> Kind:
        """What a trial of one model tells of others too."""
        return type(self.model), unsure(self.model.config)

    @cached_property
    def output(self) -> logits.Head:
        """How this checkpoint's logits come of its states."""
        few = self._few()
        return logits.head_of(self.model, self._plain, lambda: self._base(**few), lambda: self._whole(**few))

    def _few(self) -> dict[str, Tensor]:
        """A few tokens, as inputs."""
        words = self.model.get_input_embeddings().weight.shape[0]
        ids = torch.tensor([[5, 6, 7, 4, 9, 8], [8, 4, 4, 5, 7, 6]], device=self.model.device) % words
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def try_paths(self) -> None:
        """Finds out how this checkpoint is scored; where no clock runs and nothing is counted."""
        _ = self.output
        self.probe_packing()

    def probe_packing(self) -> None:
        """Finds out, once for a kind of models; where no clock runs and nothing is counted."""
        kind = self.kind
        if kind not in _SIDE_BY_SIDE and logits.has_values(self.model):
            _SIDE_BY_SIDE[kind] = self._respects_packed_mask()
            if not _SIDE_BY_SIDE[kind]:
                name = kind[0].__name__
                log.warning("%s cannot score choices side by side; each is scored in a row of its own", name)

    def _respects_packed_mask(self) -> bool:
        """One query is twice as long as any window that the configuration may mean, as far as the model takes it."""
        longest = max(3, min(2 * (self.kind[1] or 0), (self.room or NO_LIMIT) - 3))
        words = self.model.get_input_embeddings().weight.shape[0]
        long = [5, 6, 7, *((5 + place * place) % words for place in range(longest - 3))]
        queries, choices = [long, [8, 9]], [[[4, 5], [6, 7, 8]], [[9, 5, 6], [4, 8]]]
        ids = torch.tensor([[[*choice, 0][:3] for choice in of_one] for of_one in choices], device=self.model.device)
        try:
            with logits.trying(self.model):
                packed = pack(queries, choices).to(ids.device)
                beside = _at(self._predictions(packed, []), packed.predicts, ids)
                alone = self._one_by_one(queries, choices, ids, logits.Head("whole"))
        except logits.FAILURES as error:
            log.debug("the packed form fails on %s: %s", type(self.model).__name__, error)
            return False
        there = torch.tensor([[[place < len(c) for place in range(3)] for c in of_one] for of_one in choices])
        return bool((beside - alone).abs()[there.to(ids.device)].max() < 1e-3)

    def _one_by_one(
        self,
        queries: Sequence[Tokens],
        choices: Sequence[Sequence[Tokens]],
        ids: Tensor,
        output: logits.Head | None = None,
    ) -> Tensor:
        """The plain computation: every choice after its query in a row of its own, padded on the right."""
        rows = [
            (row, place, queries[row], choice)
            for row, of_one in enumerate(choices)
            for place, choice in enumerate(of_one)
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
        found = self._read(at_row, at_token, output or self.output, input_ids=padded, attention_mask=mask)
        return _at(found, predicts, ids)

    def _predictions(self, packed: Packed, layers: list[KeysValues], led: Led = NOTHING) -> Tensor:
        """Next-token logits in float32 at the places that are read, (m, vocabulary)."""
        from transformers import DynamicCache

        cache = DynamicCache(layers) if layers else None
        rows, places = packed.read.unbind(1)
        return self._read(
            rows,
            places,
            self.output,
            input_ids=packed.input_ids,
            attention_mask=_added(packed.mask, self.model.dtype),
            position_ids=packed.position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
            **led.inputs,
        )

    def _read(self, rows: Tensor, places: Tensor, output: logits.Head, **inputs: object) -> Tensor:
        """Logits in float32 (m, vocabulary) at m places of the inputs' rows: only their differences count, for which
        bf16 is too coarse."""
        if output.way == "whole":
            return self._whole(**inputs)[rows, places].float()
        states = self._base(**inputs)[rows, places]
        with torch.autocast(states.device.type, enabled=False):
            if output.way == "own":
                return logits.own_logits(self.model, output.after, states.float()[None])[0]
            return self._plain(states.float())

    def _plain(self, states: Tensor) -> Tensor:
        return cast(Tensor, cast(nn.Module, self.model.get_output_embeddings())(states))

    def _base(self, **inputs: object) -> Tensor:
        """The states after the final norm, (rows, seq, width). Nothing is kept for later unless that is asked for: a
        model's own cache may be one that only it can use."""
        body = logits.bodies(self.model)[0]
        states = getattr(self.model.get_submodule(body)(**{"use_cache": False, **inputs}), "last_hidden_state", None)
        if states is None:
            raise Unsupported(f"{type(self.model).__name__} gives no states beside its logits, and these are asked for")
        return cast(Tensor, states)

    def _whole(self, **inputs: object) -> Tensor:
        """The model's own logits, (rows, seq, vocabulary)."""
        return cast(Tensor, self.model(**{"use_cache": False, **inputs}).logits)

    def _split(self, prompts: Sequence[Prompt]) -> list[TokenisedPrompt]:
        answered = self.tokens.with_answers([prompt.text for prompt in prompts], [prompt.choices for prompt in prompts])
        return [replace(one, prompt=[*self.tokens.leading, *one.prompt]) for one in answered]

    def _cut(self, ids: Ids, room: int) -> Ids:
        return cut_start(ids, room, len(self.tokens.leading))

    def _beside(self, longest: int) -> int:
        return longest


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as what is added to attention's scores: eager attention would add a Boolean one as 0 and 1."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def _at(logits: Tensor, predicts: Tensor, ids: Tensor) -> Tensor:
    """The log-probability of each token of `ids` (batch, choices, tokens) by the logits (m, vocabulary) before it."""
    places = torch.zeros(ids.shape, dtype=torch.long, device=ids.device)
    places[:, : predicts.shape[1], : predicts.shape[2]] = predicts
    return logits[places, ids] - logits.logsumexp(-1)[places]


def _lists(ids: Tensor, mask: Tensor) -> list[Tokens]:
    """Rows of ids without padding, wherever it stands."""
    return [
        [token for token, kept in zip(row, keep, strict=True) if kept]
        for row, keep in zip(ids.tolist(), mask.tolist(), strict=True)
    ]


def _implements_protocol(decoder: Decoder) -> Backbone:
    """The type checker holds the family to the contract."""
    return decoder
