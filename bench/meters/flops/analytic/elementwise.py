"""What work that is no matrix product costs: one FLOP for each arithmetic operation on each element.

An exponential, a hyperbolic tangent or an error function is one operation; a number that a whole row shares (its mean,
its root mean square) is taken to cost nothing beside the row. Copies, look-ups, masks that are made and dropout are not
arithmetic on the model's states and are left out, as is the loss beyond the softmax over its logits.
"""

from __future__ import annotations

BIAS = 1
"""A bias that a projection adds, an element."""
RESIDUAL = 1
"""A sum of two states, an element: residuals, summed embeddings, a plug beside its host."""
GATE = 1
"""The product of a gated feed-forward's two halves, an element."""
LAYER_NORM = 7
"""Sum, subtract the mean, square, sum, divide by the deviation, weight, bias: an element."""
RMS_NORM = 4
"""Square, sum, divide by the root mean square, weight: an element."""
SCORE = 7
"""Scale, add the mask or a bias, maximum, subtract, exponential, sum, divide: an attention score."""
LOGIT = 5
"""Maximum, subtract, exponential, sum, subtract the logarithm: a logit of a choice or of a vocabulary."""
ROTARY = 3
"""Two products and a sum: a rotated element of queries and keys."""
PLUGGED = 1
"""What stands in for functions that cannot be seen (an activation, a sum): an output of a linear layer in a plug or
head, and an element that a vector of a plug acts on."""
_ACTIVATIONS = {"relu": 1, "tanh": 1, "gelu": 5, "silu": 4, "swish": 4, "gelu_new": 8, "gelu_pytorch_tanh": 8}
_OTHER_ACTIVATION = 5


def activation(name: object) -> int:
    """FLOPs of an activation an element, by its name in a configuration; 5 for one that the table lacks."""
    return _ACTIVATIONS.get(str(name), _OTHER_ACTIVATION)
