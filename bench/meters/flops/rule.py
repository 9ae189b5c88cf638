"""The papers' rule of thumb for FLOPs: parameters times tokens.

Source: Kaplan et al. 2020 (arXiv:2001.08361, section 2.1): about 2 N per token forward and twice that backward. Liu et
al. 2022 (arXiv:2205.05638, section 4.2): N per token forward in an encoder-decoder, which passes each token through
only half of its parameters, and three times the forward FLOPs for training.
The rule ignores the quadratic term of attention, the repeated passes of a decoder over choices, the savings of frozen
weights in the backward pass, and the reuse of keys and values of demonstrations.
"""

from __future__ import annotations


def forward_rule(params: int, tokens: int, encoder_decoder: bool) -> int:
    """FLOPs of a forward pass over `tokens` tokens in a model of `params` parameters."""
    return (1 if encoder_decoder else 2) * params * tokens


def backward_rule(params: int, tokens: int, encoder_decoder: bool) -> int:
    """FLOPs of the backward pass: twice the forward pass, even if weights are frozen."""
    return 2 * forward_rule(params, tokens, encoder_decoder)


def rule_flops(params: int, tokens: int, encoder_decoder: bool, training: bool = False) -> int:
    """FLOPs of a forward pass over the tokens, or of training on them (three times the forward pass)."""
    forward = forward_rule(params, tokens, encoder_decoder)
    return forward + backward_rule(params, tokens, encoder_decoder) if training else forward
