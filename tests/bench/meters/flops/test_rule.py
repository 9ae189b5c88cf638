"""The papers' rule of thumb against the costs in Liu et al. 2022 (table 1)."""

from __future__ import annotations

import pytest

from tunefront.bench.meters.flops.rule import backward_rule, forward_rule, rule_flops

QUERY, DEMONSTRATION, FITTING = 103, 98, 41
"""Median tokens of a query with choices and of a demonstration, and the number of demonstrations (section 4.2)."""
PROMPT = FITTING * DEMONSTRATION + QUERY


@pytest.mark.parametrize(
    ("params", "tokens", "encoder_decoder", "printed"),
    [
        (11 * 10**9, QUERY, True, 1.1e12),  # T-Few, and T0 zero-shot
        (11 * 10**9, PROMPT, True, 4.5e13),  # T5+LM in context
        (175 * 10**9, PROMPT, False, 1.4e15),  # GPT-3 175B
        (
            6_700 * 10**6,
            FITTING * DEMONSTRATION,
            False,
            5.4e13,
        ),  # these two are printed without the tokens of the query
        (13 * 10**9, FITTING * DEMONSTRATION, False, 1.0e14),
    ],
    ids=["T-Few", "T5+LM", "GPT-3 175B", "GPT-3 6.7B", "GPT-3 13B"],
)
def test_the_rule_gives_the_papers_inference_costs(
    params: int, tokens: int, encoder_decoder: bool, printed: float
) -> None:
    flops = rule_flops(params, tokens, encoder_decoder)
    assert float(f"{flops:.1e}") == printed


def test_the_rule_gives_the_papers_training_cost_of_t_few() -> None:
    """1,000 steps of 8 examples."""
    flops = rule_flops(11 * 10**9, 1_000 * 8 * QUERY, encoder_decoder=True, training=True)
    assert float(f"{flops:.1e}") == 2.7e16


@pytest.mark.parametrize("encoder_decoder", [False, True])
def test_training_is_a_forward_and_a_backward_pass(encoder_decoder: bool) -> None:
    parts = forward_rule(7, 11, encoder_decoder) + backward_rule(7, 11, encoder_decoder)
    assert rule_flops(7, 11, encoder_decoder, training=True) == parts == 3 * rule_flops(7, 11, encoder_decoder)
