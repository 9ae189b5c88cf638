"""Where positions start, by architecture; imports no library."""

from __future__ import annotations

_AFTER_PADDING = (
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text", "xmod"),
    *("ibert", "lilt", "longformer", "luke"),
)
"""Architectures whose positions start after the index of padding."""


def position_of_first_token(model_type: str, padding: object) -> int:
    """The position of a row's first token: RoBERTa's is its padding index plus one, MPNet's is 2 in any case.

    >>> position_of_first_token("roberta", 1), position_of_first_token("mpnet", 0), position_of_first_token("bert", 3)
    (2, 2, 0)
    """
    if model_type == "mpnet":  # its code has padding index 1, whatever the configuration says
        return 2
    if model_type not in _AFTER_PADDING:
        return 0
    return (padding if type(padding) is int else 0) + 1
