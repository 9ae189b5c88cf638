"""Every method on every further encoder and encoder-decoder: it runs, or says why it cannot."""

from __future__ import annotations

import pytest
import torch

from tests.toys import encode, fresh_copy, harness, pair_id, shipped
from tunefront.bench.models.tiny import MORE_FAMILIES
from tunefront.methods.base import Method, Unsupported

NEED_LANGUAGE_MODEL = {"icl", "cartridge"}
"""Methods that need demonstrations or a decoder."""
UNSUPPORTED = {
    "modernbert": {"bitfit"},  # its projections have no biases
    "mpnet": {"prompt_tuning", "prefix_tuning"},  # attention of its own
    "umt5": {"bitfit"},
    "pegasus": {"prompt_tuning", "prefix_tuning"},  # positions without an offset
}
"""The methods that say why they cannot run, by model."""
ENCODER_DECODERS = ("umt5", "pegasus", "mbart")


@pytest.mark.parametrize("method", shipped(), ids=pair_id)
@pytest.mark.parametrize("name", [*MORE_FAMILIES, *ENCODER_DECODERS])
def test_every_method_takes_a_step_and_scores_or_says_why_not(
    method: Method, name: str, more_backbones: dict[str, str], encoder_decoders: dict[str, str]
) -> None:
    backbone = fresh_copy((more_backbones | encoder_decoders)[name])
    refused = UNSUPPORTED.get(name, set()) | (NEED_LANGUAGE_MODEL if name in MORE_FAMILIES else {"cartridge"})
    if method.name in refused:
        with pytest.raises(Unsupported, match=r"\w+ \w+"):
            method.attach(backbone)
        return
    method.attach(backbone)
    rows = encode(backbone).take(range(max(8, method.fewest_rows)))
    trainer = harness(backbone, method, counted=False, steps=1, batch_size=8)
    scorer = method.fit(backbone, rows, trainer)
    batch = trainer.prompts.prepend_to(encode(backbone, split="test")).batch(range(4))
    with torch.no_grad():
        scores = scorer(batch)
    assert scores.shape == (4, 2)
    assert scores.isfinite().all()
