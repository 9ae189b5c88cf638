"""Costs of elementwise work, everything but matrix products: one FLOP per arithmetic operation per element.

An exponential, a hyperbolic tangent or an error function is one operation. A number that a whole row shares (its mean,
its root mean square) counts as free. Copies, look-ups, making masks and dropout are not arithmetic on the model's
states and are left out, as is the loss beyond the softmax over its logits.
"""

from __future__ import annotations

BIAS = 1
"""Adding a projection's bias, per element."""
RESIDUAL = 1
"""A sum of two states, per element: residuals, summed embeddings, a parallel plug."""
GATE = 1
"""The product of the two halves of a gated feed-forward, per element."""
LAYER_NORM = 7
"""Sum, subtract the mean, square, sum, divide by the deviation, weight, bias: per element."""
RMS_NORM = 4
"""Square, sum, divide by the root mean square, weight: per element."""
FACTOR = 1
"""A product with a number: per element that an architecture scales."""
CAP = 3
"""Divide, hyperbolic tangent, multiply: per score or logit with a soft cap."""
SCORE = 7
"""Scale, add the mask or a bias, maximum, subtract, exponential, sum, divide: per attention score."""
LOGIT = 5
"""Maximum, subtract, exponential, sum, subtract the logarithm: per logit of a choice or a vocabulary entry."""
ROTARY = 3
"""Two products and a sum: per rotated element of queries and keys."""
PLUGGED = 1
"""Estimate for functions that cannot be seen in a plug or head (an activation, a sum): per output element of each
linear layer, and per element that a vector acts on."""
_ACTIVATIONS = {"relu": 1, "tanh": 1, "gelu": 5, "silu": 4, "swish": 4, "gelu_new": 8, "gelu_pytorch_tanh": 8}
_OTHER_ACTIVATION = 5


def activation(name: object) -> int:
    """FLOPs of an activation per element, by its name in a configuration; 5 for an unknown one."""
    return _ACTIVATIONS.get(str(name), _OTHER_ACTIVATION)
