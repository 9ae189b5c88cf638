"""Encoder-decoders (T5, T0, Flan-T5, BART, Pegasus): the encoder reads each prompt once, the decoder every choice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from tunefront.bench.errors import UserError
from tunefront.bench.models.families import logits
from tunefront.bench.models.families.language import LanguageModel, prefixed_input
from tunefront.bench.models.families.leads import NO_LEAD, LeadLengths, Led, LedKeys
from tunefront.bench.models.scoring.layouts import EncoderDecoderLayout
from tunefront.bench.models.scoring.prefix import Demonstrations, TextPrefix
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.models.scoring.tokens import Ids, TokenisedPrompt, cut_start
from tunefront.methods.base import Backbone, Batch, Examples, Prefix, Unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tunefront.bench.templates import Prompt


log = logging.getLogger("tunefront")

_SEPARATE: dict[logits.CheckpointKey, bool] = {}
"""Whether choices need rows of their own, by checkpoint, for the life of the process."""


@runtime_checkable
class LearnedPositions(Protocol):
    """BART's position embeddings: the first token's is row `offset` of the table."""

    offset: int


class Seq2Seq(LanguageModel):
    """An encoder-decoder with its own output layer; choices end with the tokenizer's end-of-sequence token."""

    layout = EncoderDecoderLayout()
    needs_separate_rows: bool = False
    """Whether each choice is scored alone, because padding or a cache changes its log-probability."""

    @property
    def positions(self) -> bool:  # type: ignore[override]
        """T5's relative positions set no limit."""
        return not hasattr(self.model.config, "relative_attention_num_buckets")

    def _stack_modules(self) -> dict[str, PreTrainedModel]:
        return {"encoder": self.model.get_encoder(), "decoder": self.model.get_decoder()}

    def _run_sample(self, keys: LedKeys) -> object:
        words = self.model.get_input_embeddings().weight.shape[0]
        ids = torch.tensor([[5, 6, 7]], device=self.model.device) % words
        mask = torch.ones_like(ids)
        states = self.model.get_encoder()(input_ids=ids, attention_mask=mask, leads=keys).last_hidden_state
        return self.decoded(states, mask, ids[:, :2], Led(keys=keys))

    def _check_lead(self, lengths: LeadLengths) -> None:
        super()._check_lead(lengths)
        if self.positions and not all(isinstance(table, LearnedPositions) for table in self.position_tables()):
            raise Unsupported(
                f"the position embeddings of {type(self.model).__name__} have no offset, which a lead needs"
            )

    def lead(self, module: nn.Module) -> None:
        """Puts the output of `module()` before the tokens of every row. For leading keys and values, the offsets of the
        position tables grow by their number, because the model has no argument for positions."""
        super().lead(module)
        self.layout = replace(self.layout, led=True)
        for name, table in zip(self.lead_lengths.positions, self.position_tables(), strict=False):
            if name not in self.lead_lengths.prompts:
                cast(LearnedPositions, table).offset += self.lead_lengths.positions[name]

    def position_tables(self) -> list[object]:
        """The position embeddings of each stack; none if positions are relative."""
        return (
            [getattr(stack, "embed_positions", None) for stack in self._stack_modules().values()]
            if self.positions
            else []
        )

    def _features(self, batch: Batch) -> Tensor:
        """The decoder's state at its first token, where the answer starts."""
        led = self._leading()
        states, mask = self._encoded_prompts(batch, None, led)
        start = torch.full((len(states), 1), self.start, device=states.device)
        return self.decoded(states, mask, start, led)[:, -1]

    def prefix(self, demonstrations: Examples) -> TextPrefix:
        """Demonstrations that precede every prompt and are read with it."""
        rows = cast(PromptedExamples, demonstrations)
        return TextPrefix(Demonstrations.of(rows.prompts, self.tokens, self.room, self._query_room, whole=True))

    def read(self, prefix: Prefix) -> Prefix:
        """The prefix itself: a bidirectional encoder has to read it again with every prompt."""
        return prefix

    def choice_logprobs(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """Runs the encoder and the decoder's first step once per row, then the rest of each choice: what the choices of
        a row share, the keys and values of cross-attention included, is computed once."""
        led, inputs = self._leading(), batch.inputs
        if self.needs_separate_rows:
            return self._one_by_one(batch, prefix, led)
        states, mask = self._encoded_prompts(batch, prefix, led)
        read = nullcontext(replace(led, prompts={}))  # the first step has read the prompt
        return self.answer_logprobs(states, mask, inputs["choice_ids"], inputs["choice_mask"], led, lambda row: read)

    def answer_logprobs(
        self,
        states: Tensor,
        mask: Tensor,
        ids: Tensor,
        kept: Tensor,
        led: Led,
        following: Callable[[Tensor], AbstractContextManager[Led]],
    ) -> Tensor:
        """Log-probabilities of the tokens of every choice, ids (rows, choices, tokens) where `kept`, given the states
        of the rows' prompts and their mask.

        Args: led, the lead of the first step; following, the context of the other steps, in which the decoder's rows
        are those with these indices, and the lead there.
        """
        from transformers import DynamicCache, EncoderDecoderCache

        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        start = torch.full((len(states), 1), self.start, device=ids.device)
        first = self._decode(states, mask, start, led, cache)
        row, choice = kept.any(-1).nonzero(as_tuple=True)
        logprobs = ids.new_zeros(ids.shape, dtype=torch.float32)
        logprobs[row, choice, 0] = token_logprobs(first[row, 0], ids[row, choice, 0])
        if ids.shape[2] > 1:
            cache.batch_select_indices(row)
            with following(row) as led_rest:
                rest = self._decode(states[row], mask[row], ids[row, choice, :-1], led_rest, cache)
            logprobs[row, choice, 1:] = token_logprobs(rest, ids[row, choice, 1:])
        return logprobs

    def _logprobs(self, batch: Batch) -> Tensor:
        """Every choice in a separate row, without a cache, so that activations can be recomputed."""
        led = self._leading(batch)
        if self.needs_separate_rows:
            return self._one_by_one(batch, None, led)
        states, mask = self._encoded_prompts(batch, None, led)
        ids = batch.inputs["choice_ids"]
        row, choice = batch.inputs["choice_mask"].any(-1).nonzero(as_tuple=True)
        targets = ids[row, choice]
        start = targets.new_full((len(targets), 1), self.start)
        predictions = self._decode(states[row], mask[row], torch.cat([start, targets[:, :-1]], dim=1), led)
        logprobs = torch.zeros(ids.shape, dtype=torch.float32, device=ids.device)
        return logprobs.index_put((row, choice), token_logprobs(predictions, targets))

    def _one_by_one(self, batch: Batch, prefix: Prefix | None, led: Led) -> Tensor:
        """Every choice alone, in a forward pass without padding and without a cache."""
        prompts = prefixed_input(batch, prefix, "input_ids"), prefixed_input(batch, prefix, "attention_mask").bool()
        ids, kept = batch.inputs["choice_ids"], batch.inputs["choice_mask"].bool()
        logprobs = torch.zeros(ids.shape, dtype=torch.float32, device=ids.device)
        for row, (prompt, mask) in enumerate(zip(*prompts, strict=True)):
            read = prompt[mask][None]
            states, real = self.encoded(read, torch.ones_like(read), led)
            for choice in kept[row].any(-1).nonzero(as_tuple=True)[0].tolist():
                targets = ids[row, choice][kept[row, choice]][None]
                start = targets.new_full((1, 1), self.start)
                predictions = self._decode(states, real, torch.cat([start, targets[:, :-1]], dim=1), led)
                places = torch.tensor(row), torch.tensor(choice), torch.arange(targets.shape[1])
                logprobs = logprobs.index_put(places, token_logprobs(predictions, targets)[0])
        return logprobs

    def _encoded_prompts(self, batch: Batch, prefix: Prefix | None, led: Led) -> tuple[Tensor, Tensor]:
        """The encoder's states (batch, seq, width), the lead included, and their mask."""
        return self.encoded(
            prefixed_input(batch, prefix, "input_ids"), prefixed_input(batch, prefix, "attention_mask"), led
        )

    def encoded(self, ids: Tensor, mask: Tensor, led: Led) -> tuple[Tensor, Tensor]:
        """The encoder's states (rows, seq, width) for ids and their mask (rows, tokens), and the mask of the states:
        both include the lead."""
        if not mask[:, 0].all():  # BART's positions count from the left, padding or not
            order = mask.argsort(dim=1, descending=True, stable=True)
            ids, mask = ids.gather(1, order), mask.gather(1, order)
        encoder = self.model.get_encoder()
        tokens, virtual = led.tokens("encoder", encoder, ids)
        mask = led.real("encoder", mask, virtual) if virtual else mask
        return cast(Tensor, encoder(**tokens, attention_mask=mask, **led.inputs).last_hidden_state), mask

    def _decode(self, states: Tensor, mask: Tensor, ids: Tensor, led: Led, cache: Any = None) -> Tensor:  # Any: a cache
        """Logits in float32 after each token, (rows, tokens, vocabulary); a prompt in the lead precedes the tokens."""
        caching, tokens = {"past_key_values": cache, "use_cache": cache is not None}, ids.shape[1]
        if self.output.way == "whole":
            return self._whole(states, mask, ids, led, **caching)[:, -tokens:].float()
        return self.logits_of(self.decoded(states, mask, ids, led, **caching)[:, -tokens:])

    def logits_of(self, states: Tensor) -> Tensor:
        """Next-token logits in float32 (rows, tokens, vocabulary) of the decoder's states after its final norm."""
        with torch.autocast(states.device.type, enabled=False):  # bf16 is too coarse for differences of logits
            if self.output.way == "own":
                return logits.own_logits(self.model, self.output.after, states.float())
            return self._plain(states.float())

    @cached_property
    def output(self) -> logits.Output:
        """How this checkpoint computes logits from the decoder's states."""
        return logits.find_output(
            self.model,
            self._plain,
            lambda: self.decoded(*self._sample_inputs()),
            lambda: self._whole(*self._sample_inputs()),
        )

    def probe(self) -> None:
        """Finds out how to score this checkpoint, before any clock runs and anything is counted.

        Compares the log-probabilities of a few tokens with those of the model's own forward pass. If they differ,
        every choice is scored alone from now on, with a warning.
        """
        _ = self.output
        if not logits.has_values(self.model):
            return
        key = logits.checkpoint_key(self.model)
        if key not in _SEPARATE:
            _SEPARATE[key] = not self._scores_as_its_own_pass()
            if _SEPARATE[key]:
                name = type(self.model).__name__
                log.warning(
                    "%s scores choices differently with padding or a cache; each is scored alone, which takes longer",
                    name,
                )
        self.needs_separate_rows = _SEPARATE[key]

    def _scores_as_its_own_pass(self) -> bool:
        """Whether prompts of two lengths with cached first steps give the log-probabilities of plain forward passes."""
        words = self.model.get_input_embeddings().weight.shape[0]
        device = self.model.device
        prompts = [torch.tensor([prompt], device=device) % words for prompt in ([5, 6, 7, 4], [8, 4])]
        choices = torch.tensor([[[4, 5, 6], [6, 7, 8]], [[9, 5, 6], [4, 8, 7]]], device=device) % words
        ids = torch.stack([nn.functional.pad(prompt[0], (0, 4 - prompt.shape[1])) for prompt in prompts])
        mask = torch.stack([torch.arange(4, device=device) < prompt.shape[1] for prompt in prompts]).long()
        kept = torch.ones_like(choices, dtype=torch.bool)
        plain = nullcontext(NO_LEAD)
        try:
            with logits.evaluating(self.model):
                states, real = self.encoded(ids, mask, NO_LEAD)
                together = self.answer_logprobs(states, real, choices, kept, NO_LEAD, lambda row: plain)
                for row, prompt in enumerate(prompts):
                    for place, targets in enumerate(choices[row]):
                        start = targets.new_full((1, 1), self.start)
                        inputs = torch.cat([start, targets[None, :-1]], dim=1)
                        output = self.model(
                            input_ids=prompt, attention_mask=torch.ones_like(prompt), decoder_input_ids=inputs
                        ).logits
                        expected = token_logprobs(output.float(), targets[None])[0]
                        if not torch.allclose(together[row, place], expected, rtol=1e-3, atol=1e-3):
                            return False
        except logits.FAILURES as error:
            log.debug("the cached form fails on %s: %s", type(self.model).__name__, error)
            return False
        return True

    def _sample_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's states for a few tokens, their mask, and the decoder's tokens."""
        words = self.model.get_input_embeddings().weight.shape[0]
        ids = torch.tensor([[5, 6, 7, 4], [8, 4, 4, 5]], device=self.model.device) % words
        mask = torch.ones_like(ids)
        states = cast(Tensor, self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state)
        return states, mask, ids.flip(1)

    def decoded(
        self,
        states: Tensor,
        mask: Tensor,
        ids: Tensor,
        led: Led = NO_LEAD,
        **caching: Any,  # Any: a cache or none
    ) -> Tensor:
        """The decoder's states after the final norm, (rows, tokens, width), those of a leading prompt included."""
        read, decoder = {"encoder_hidden_states": states, "encoder_attention_mask": mask}, self.model.get_decoder()
        tokens, _ = led.tokens("decoder", decoder, ids)
        real = led.decoded(ids)
        own = {} if real is None else {"attention_mask": real}
        return cast(Tensor, decoder(**tokens, **own, **read, **led.inputs, **caching).last_hidden_state)

    def _whole(
        self,
        states: Tensor,
        mask: Tensor,
        ids: Tensor,
        led: Led = NO_LEAD,
        **caching: Any,  # Any: as above
    ) -> Tensor:
        """The model's own logits, given the encoder's states."""
        from transformers.modeling_outputs import BaseModelOutput

        read = BaseModelOutput(last_hidden_state=states)
        tokens, _ = led.tokens("decoder", self.model.get_decoder(), ids)
        real = led.decoded(ids)
        own = {} if real is None else {"attention_mask": real}
        decoded = {f"decoder_{name}": value for name, value in (tokens | own).items()}
        output = self.model(encoder_outputs=read, attention_mask=mask, **decoded, **led.inputs, **caching)
        return cast(Tensor, output.logits)

    def _plain(self, states: Tensor) -> Tensor:
        if getattr(self.model.config, "scale_decoder_outputs", False):  # T5 v1.0, whose embeddings are tied
            states = states * self.width**-0.5
        scores = cast(nn.Linear, self.model.get_output_embeddings())(states)
        bias = getattr(self.model, "final_logits_bias", None)  # BART
        return cast(Tensor, scores if bias is None else scores + bias)

    @property
    def start(self) -> int:
        """The token with which every answer starts."""
        for config in (self.model.config, self.model.generation_config):
            start = getattr(config, "decoder_start_token_id", None)
            if start is not None:
                return int(start)
        raise UserError(
            f"the configuration of {type(self.model).__name__} has no decoder_start_token_id; set it in its "
            "config.json (T5: the id of the padding token)."
        )

    def _split(self, prompts: Sequence[Prompt]) -> list[TokenisedPrompt]:
        tokens = self.tokens

        def with_special_tokens(texts: Sequence[str]) -> list[Ids]:
            return [[*tokens.leading, *ids, *tokens.trailing] for ids in tokens.of(texts)]

        queries = with_special_tokens([prompt.text for prompt in prompts])
        choices = iter(with_special_tokens([choice for prompt in prompts for choice in prompt.choices]))
        return [
            TokenisedPrompt(query, [next(choices) for _ in prompt.choices])
            for query, prompt in zip(queries, prompts, strict=True)
        ]

    def _cut(self, ids: Ids, room: int) -> Ids:
        return cut_start(ids, room, len(self.tokens.leading), len(self.tokens.trailing))

    def _reserved(self, longest: int) -> int:
        return 0


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """The log-probability of each token, in the shape of `tokens`."""
    picked = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return picked - logits.logsumexp(-1)


def _implements_protocol(model: Seq2Seq) -> Backbone:
    """Lets the type checker compare the family with the protocol."""
    return model
