"""Decoders (GPT-2, OPT, GPT-NeoX, Llama, Mistral, Qwen2): choices are scored side by side after a shared prefix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from bench.families.language import LanguageModel, following
from bench.scoring.layouts import DecoderLayout
from bench.scoring.packing import Packed, Tokens, pack
from bench.scoring.prefix import CachedPrefix, Demonstrations, KeysValues
from bench.scoring.prompted import PromptedExamples
from bench.scoring.tokens import Ids
from methods.base import Backbone, Batch, Examples, Prefix

if TYPE_CHECKING:
    from bench.templates import Prompt


class Decoder(LanguageModel):
    """A decoder-only model with its own output layer."""

    layout = DecoderLayout()

    def features(self, batch: Batch) -> Tensor:
        """The last prompt token's state after the final norm, (batch, width); as it is where the batch has it."""
        if "features" in batch.inputs:
            return batch.inputs["features"]
        mask = batch.inputs["attention_mask"]
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        states = self._base(input_ids=batch.inputs["input_ids"], attention_mask=mask, position_ids=positions)
        last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
        return states[torch.arange(len(last), device=states.device), last]

    def prefix(self, demonstrations: Examples) -> CachedPrefix:
        """Demonstrations in tokens, not read yet."""
        rows = cast(PromptedExamples, demonstrations)
        return CachedPrefix(Demonstrations.of(rows.prompts, self.tokens, self.room, self._query_room))

    def read(self, prefix: Prefix) -> CachedPrefix:
        """The prefix with the keys and values of its tokens."""
        from transformers import DynamicCache

        told = cast(CachedPrefix, prefix).demonstrations
        if not prefix.tokens:
            return CachedPrefix(told)
        cache = DynamicCache()
        with torch.no_grad():
            ids = torch.tensor([told.ids[: prefix.tokens]], device=self.model.device)
            self._base(input_ids=ids, past_key_values=cache, use_cache=True)
        return CachedPrefix(told, tuple((layer.keys, layer.values) for layer in cache.layers))

    def choice_logprobs(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """All rows and choices in one row after the prefix; the rows of a batch keep equally many demonstrations."""
        if prefix is None:
            return self._scored(batch, None, [], together=True)
        kept = following(batch, prefix, "kept").tolist()
        if len(set(kept)) > 1:
            raise ValueError(f"rows that keep {sorted(set(kept))} demonstrations cannot be scored in one batch")
        layers = cast(CachedPrefix, prefix).first(kept[0]) if kept[0] else []
        return self._scored(batch, prefix, layers, together=True)

    def _logprobs(self, batch: Batch) -> Tensor:
        return self._scored(batch, None, [], together=False)

    def _scored(self, batch: Batch, prefix: Prefix | None, layers: list[KeysValues], together: bool) -> Tensor:
        queries = _lists(following(batch, prefix, "input_ids"), following(batch, prefix, "attention_mask"))
        ids, mask = batch.inputs["choice_ids"], batch.inputs["choice_mask"]
        choices = [
            [choice for choice in _lists(of_one, kept) if choice] for of_one, kept in zip(ids, mask, strict=True)
        ]
        before = int(layers[0][0].shape[2]) if layers else 0
        packed = pack(queries, choices, before, together).to(ids.device)
        logits = self._predictions(packed, layers)
        predicts = packed.predicts
        shape = ids.shape[0], ids.shape[1], ids.shape[2]
        whole = torch.zeros(shape, dtype=torch.long, device=ids.device)
        whole[:, : predicts.shape[1], : predicts.shape[2]] = predicts
        return logits[whole, ids] - logits.logsumexp(-1)[whole]

    def _predictions(self, packed: Packed, layers: list[KeysValues]) -> Tensor:
        """Next-token logits in float32 at the places that are read, (m, vocabulary)."""
        from transformers import DynamicCache

        cache = DynamicCache(layers) if layers else None
        states = self._base(
            input_ids=packed.input_ids,
            attention_mask=packed.mask,
            position_ids=packed.position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        rows, places = packed.read.unbind(1)
        output = cast(nn.Module, self.model.get_output_embeddings())
        return output(states[rows, places]).float()

    def _base(self, **inputs: object) -> Tensor:
        """The states after the final norm, (rows, seq, width)."""
        return cast(Tensor, self.model.base_model(**inputs).last_hidden_state)

    def _split(self, prompts: Sequence[Prompt]) -> list[tuple[Ids, list[Ids]]]:
        answered = self.tokens.answered([prompt.text for prompt in prompts], [prompt.choices for prompt in prompts])
        return [([*self.tokens.leading, *query], choices) for query, choices in answered]

    def _cut(self, ids: Ids, room: int) -> Ids:
        """From its start, the leading special tokens apart: a prompt ends with what asks for the answer."""
        if len(ids) <= room:
            return ids
        leading = self.tokens.leading
        return [*leading, *ids[len(ids) - (room - len(leading)) :]]

    def _beside(self, longest: int) -> int:
        return longest


def _lists(ids: Tensor, mask: Tensor) -> list[Tokens]:
    """Rows of ids without padding, wherever it stands."""
    return [
        [token for token, kept in zip(row, keep, strict=True) if kept]
        for row, keep in zip(ids.tolist(), mask.tolist(), strict=True)
    ]


def _implements_protocol(decoder: Decoder) -> Backbone:
    """The type checker holds the family to the contract."""
    return decoder
