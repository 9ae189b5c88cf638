"""The papers' rule of thumb for FLOPs: parameters times tokens, and nothing else.

Source: Kaplan et al. 2020 (arXiv:2001.08361, section 2.1): about 2 N a token forward and twice that backward. Liu et
al. 2022 (arXiv:2205.05638, section 4.2): N a token forward where an encoder-decoder passes each token through one of
its two sides, half of the parameters, and three times the forward FLOPs for training.
It leaves out attention's quadratic term, the decoder's repeated passes over choices, the backward pass that frozen
weights save, and the reuse of demonstrations' keys and values.
"""

from __future__ import annotations


def forward_rule(params: int, tokens: int, encoder_decoder: bool) -> int:
    """FLOPs of reading so many tokens with a model of so many parameters."""
    return (1 if encoder_decoder else 2) * params * tokens


def backward_rule(params: int, tokens: int, encoder_decoder: bool) -> int:
    """FLOPs of the backward pass after it: twice the forward pass, whatever is frozen."""
    return 2 * forward_rule(params, tokens, encoder_decoder)


def rule_flops(params: int, tokens: int, encoder_decoder: bool, training: bool = False) -> int:
    """FLOPs of a forward pass over the tokens, or of training steps over them (three times as many)."""
    forward = forward_rule(params, tokens, encoder_decoder)
    return forward + backward_rule(params, tokens, encoder_decoder) if training else forward
