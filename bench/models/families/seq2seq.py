"""Encoder-decoders (T5, T0, Flan-T5, BART): the encoder reads each prompt once, the decoder every choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from tunefront.bench.errors import UserError
from tunefront.bench.models.families import logits
from tunefront.bench.models.families.language import LanguageModel, following
from tunefront.bench.models.families.leads import NOTHING, Led, LedKeys, Lengths
from tunefront.bench.models.scoring.layouts import EncoderDecoderLayout
from tunefront.bench.models.scoring.prefix import Demonstrations, TextPrefix
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.models.scoring.tokens import Ids, TokenisedPrompt, cut_start
from tunefront.methods.base import Backbone, Batch, Examples, Prefix, Unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tunefront.bench.templates import Prompt


@runtime_checkable
class LearnedPositions(Protocol):
    """BART's embeddings of positions: the first token's is at place `offset` of the table."""

    offset: int


class Seq2Seq(LanguageModel):
    """An encoder-decoder with its own output layer; choices end with the tokenizer's end-of-sequence token."""

    layout = EncoderDecoderLayout()

    @property
    def positions(self) -> bool:  # type: ignore[override]
        """T5's relative positions set no limit."""
        return not hasattr(self.model.config, "relative_attention_num_buckets")

    def _stack_modules(self) -> dict[str, PreTrainedModel]:
        return {"encoder": self.model.get_encoder(), "decoder": self.model.get_decoder()}

    def _run_few(self, keys: LedKeys) -> object:
        words = self.model.get_input_embeddings().weight.shape[0]
        ids = torch.tensor([[5, 6, 7]], device=self.model.device) % words
        mask = torch.ones_like(ids)
        states = self.model.get_encoder()(input_ids=ids, attention_mask=mask, leads=keys).last_hidden_state
        return self._decoded(states, mask, ids[:, :2], Led(keys=keys))

    def _check_lead(self, found: Lengths) -> None:
        super()._check_lead(found)
        if self.positions and not all(isinstance(table, LearnedPositions) for table in self._position_tables()):
            raise Unsupported(f"{type(self.model).__name__} does not say where its positions begin")

    def lead(self, module: nn.Module) -> None:
        """Puts what `module()` gives before the tokens of every row; the tables of positions begin as many tokens later
        where keys and values lead, since no argument of the model says so."""
        super().lead(module)
        self.layout = replace(self.layout, led=True)
        for name, table in zip(self.lead_lengths.positions, self._position_tables(), strict=False):
            if name not in self.lead_lengths.prompts:
                cast(LearnedPositions, table).offset += self.lead_lengths.positions[name]

    def _position_tables(self) -> list[object]:
        """Each stack's embeddings of positions, none where positions are relative."""
        return (
            [getattr(stack, "embed_positions", None) for stack in self._stack_modules().values()]
            if self.positions
            else []
        )

    def _features(self, batch: Batch) -> Tensor:
        """The decoder's state at its first token, from which the answer starts."""
        led = self._leading()
        states, mask = self._encoded_prompts(batch, None, led)
        start = torch.full((len(states), 1), self._start, device=states.device)
        return self._decoded(states, mask, start, led)[:, -1]

    def prefix(self, demonstrations: Examples) -> TextPrefix:
        """Demonstrations that go before every prompt and are read with it."""
        rows = cast(PromptedExamples, demonstrations)
        return TextPrefix(Demonstrations.of(rows.prompts, self.tokens, self.room, self._query_room, whole=True))

    def read(self, prefix: Prefix) -> Prefix:
        """The prefix as it is: an encoder that looks both ways reads it anew with every prompt."""
        return prefix

    def choice_logprobs(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """The encoder and the decoder's first step once for each row, the rest of the choices after them: what a choice
        shares with its row's others, cross attention's keys and values among it, is computed once."""
        from transformers import DynamicCache, EncoderDecoderCache

        led = self._leading()
        states, mask = self._encoded_prompts(batch, prefix, led)
        ids, kept = batch.inputs["choice_ids"], batch.inputs["choice_mask"]
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        start = torch.full((len(states), 1), self._start, device=ids.device)
        first = self._decode(states, mask, start, led, cache)
        row, choice = kept.any(-1).nonzero(as_tuple=True)
        logprobs = ids.new_zeros(ids.shape, dtype=torch.float32)
        logprobs[row, choice, 0] = _of_tokens(first[row, 0], ids[row, choice, 0])
        if ids.shape[2] > 1:
            cache.batch_select_indices(row)
            rest = self._decode(states[row], mask[row], ids[row, choice, :-1], replace(led, prompts={}), cache)
            logprobs[row, choice, 1:] = _of_tokens(rest, ids[row, choice, 1:])
        return logprobs

    def _logprobs(self, batch: Batch) -> Tensor:
        """Every choice in a row of its own, without a cache, so that activations can be recomputed."""
        led = self._leading(batch)
        states, mask = self._encoded_prompts(batch, None, led)
        ids = batch.inputs["choice_ids"]
        row, choice = batch.inputs["choice_mask"].any(-1).nonzero(as_tuple=True)
        targets = ids[row, choice]
        start = targets.new_full((len(targets), 1), self._start)
        found = self._decode(states[row], mask[row], torch.cat([start, targets[:, :-1]], dim=1), led)
        scored = torch.zeros(ids.shape, dtype=torch.float32, device=ids.device)
        return scored.index_put((row, choice), _of_tokens(found, targets))

    def _encoded_prompts(self, batch: Batch, prefix: Prefix | None, led: Led) -> tuple[Tensor, Tensor]:
        """The encoder's states (batch, seq, width), what leads among them, and their mask."""
        ids, mask = following(batch, prefix, "input_ids"), following(batch, prefix, "attention_mask")
        if not mask[:, 0].all():  # BART's positions count from the left, padding or not
            order = mask.argsort(dim=1, descending=True, stable=True)
            ids, mask = ids.gather(1, order), mask.gather(1, order)
        encoder = self.model.get_encoder()
        tokens, virtual = led.tokens("encoder", encoder, ids)
        mask = torch.cat([mask.new_ones(len(mask), virtual), mask], dim=1) if virtual else mask
        return cast(Tensor, encoder(**tokens, attention_mask=mask, **led.inputs).last_hidden_state), mask

    def _decode(self, states: Tensor, mask: Tensor, ids: Tensor, led: Led, cache: Any = None) -> Tensor:  # Any: a cache
        """Logits in float32 after each token, (rows, tokens, vocabulary); a prompt that leads stands before them."""
        caching, tokens = {"past_key_values": cache, "use_cache": cache is not None}, ids.shape[1]
        if self.output.way == "whole":
            return self._whole(states, mask, ids, led, **caching)[:, -tokens:].float()
        read = self._decoded(states, mask, ids, led, **caching)[:, -tokens:]
        with torch.autocast(states.device.type, enabled=False):  # of logits only differences count: bf16 is too coarse
            if self.output.way == "own":
                return logits.own_logits(self.model, self.output.after, read.float())
            return self._plain(read.float())

    @cached_property
    def output(self) -> logits.Head:
        """How this checkpoint's logits come of its decoder's states."""
        return logits.head_of(
            self.model, self._plain, lambda: self._decoded(*self._few()), lambda: self._whole(*self._few())
        )

    def try_paths(self) -> None:
        """Finds out how this checkpoint is scored; where no clock runs and nothing is counted."""
        _ = self.output

    def _few(self) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's states of a few tokens, their mask, and what follows."""
        words = self.model.get_input_embeddings().weight.shape[0]
        ids = torch.tensor([[5, 6, 7, 4], [8, 4, 4, 5]], device=self.model.device) % words
        mask = torch.ones_like(ids)
        states = cast(Tensor, self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state)
        return states, mask, ids.flip(1)

    def _decoded(
        self,
        states: Tensor,
        mask: Tensor,
        ids: Tensor,
        led: Led = NOTHING,
        **caching: Any,  # Any: a cache or none
    ) -> Tensor:
        """The decoder's states after the final norm, (rows, tokens, width), those of a prompt that leads among them."""
        read, decoder = {"encoder_hidden_states": states, "encoder_attention_mask": mask}, self.model.get_decoder()
        tokens, _ = led.tokens("decoder", decoder, ids)
        return cast(Tensor, decoder(**tokens, **read, **led.inputs, **caching).last_hidden_state)

    def _whole(
        self,
        states: Tensor,
        mask: Tensor,
        ids: Tensor,
        led: Led = NOTHING,
        **caching: Any,  # Any: as above
    ) -> Tensor:
        """The model's own logits, of an encoder that has run."""
        from transformers.modeling_outputs import BaseModelOutput

        read = BaseModelOutput(last_hidden_state=states)
        tokens, _ = led.tokens("decoder", self.model.get_decoder(), ids)
        decoded = {f"decoder_{name}": value for name, value in tokens.items()}
        found = self.model(encoder_outputs=read, attention_mask=mask, **decoded, **led.inputs, **caching)
        return cast(Tensor, found.logits)

    def _plain(self, states: Tensor) -> Tensor:
        if getattr(self.model.config, "scale_decoder_outputs", False):  # T5 v1.0, whose embeddings are tied
            states = states * self.width**-0.5
        found = cast(nn.Linear, self.model.get_output_embeddings())(states)
        bias = getattr(self.model, "final_logits_bias", None)  # BART
        return cast(Tensor, found if bias is None else found + bias)

    @property
    def _start(self) -> int:
        for config in (self.model.config, self.model.generation_config):
            start = getattr(config, "decoder_start_token_id", None)
            if start is not None:
                return int(start)
        raise UserError(
            f"the configuration of {type(self.model).__name__} names no decoder_start_token_id; set it in its "
            "config.json (T5: the id of the padding token)."
        )

    def _split(self, prompts: Sequence[Prompt]) -> list[TokenisedPrompt]:
        tokens = self.tokens

        def ended(texts: Sequence[str]) -> list[Ids]:
            return [[*tokens.leading, *ids, *tokens.trailing] for ids in tokens.of(texts)]

        queries = ended([prompt.text for prompt in prompts])
        choices = iter(ended([choice for prompt in prompts for choice in prompt.choices]))
        pairs = zip(queries, prompts, strict=True)
        return [TokenisedPrompt(query, [next(choices) for _ in prompt.choices]) for query, prompt in pairs]

    def _cut(self, ids: Ids, room: int) -> Ids:
        return cut_start(ids, room, len(self.tokens.leading), len(self.tokens.trailing))

    def _beside(self, longest: int) -> int:
        return 0


def _of_tokens(logits: Tensor, tokens: Tensor) -> Tensor:
    """The log-probability of each token, of the shape of `tokens`."""
    picked = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return picked - logits.logsumexp(-1)


def _implements_protocol(model: Seq2Seq) -> Backbone:
    """The type checker holds the family to the contract."""
    return model
