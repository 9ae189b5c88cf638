"""Trains `nano` on a CPU. Needs torch 2.9 (Muon)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nano import heads, shape
from nano.curriculum import STAGES, Stage, batches
from nano.episodes import IGNORED, Rows
from nano.material import Material
from nano.shape import Nano

RATE, WARMUP, DECAY, CLIP = 2e-3, 100, 0.1, 1.0
_LOGGED_EVERY = 10
_FITTED_TEXTS = 20_000
_DISTILLED = 8.0
"""Weight of the distillation loss relative to the label loss, whose gradient is much larger."""


def train(nano: Nano, material: Material, stages: Sequence[Stage] = STAGES, compiled: bool = True) -> None:
    """Trains in place, in all stages. Args: compiled, whether to compile both halves of the model, which pays off after
    some minutes."""
    objectives = Objectives(nano, material.embeddings.float(), compiled)
    optimizers = _optimizers(nano)
    steps = sum(stage.steps for stage in stages)
    for step, batch in enumerate(batches(material, stages), 1):
        if batch.fitted_on is not None:
            heads.fit(nano, objectives.taught[:_FITTED_TEXTS].float(), batch.fitted_on)
        loss = objectives.loss(batch.objective, batch.rows)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(nano.parameters(), CLIP)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1.0, step / WARMUP) * batch.rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % _LOGGED_EVERY == 0:
            print(f"step {step} of {steps}, {batch.objective}: loss {float(loss.detach()):.3f}", flush=True)


class Objectives:
    """The losses. Args: embeddings, the teacher's (snippets, width)."""

    def __init__(self, nano: Nano, embeddings: Tensor, compiled: bool):
        self._nano = nano
        self.taught = functional.normalize(embeddings - embeddings.mean(0), dim=-1).half()
        self._lower: Callable[..., Tensor] = shape.lower
        self._upper: Callable[..., Tensor] = shape.upper
        if compiled:
            self._lower, self._upper = (torch.compile(half, dynamic=False) for half in (shape.lower, shape.upper))

    def loss(self, objective: str, rows: Rows) -> Tensor:
        """The loss of a batch: of the next tokens, of the distance from the teacher, or of both."""
        with torch.autocast("cpu", torch.bfloat16):
            read = self._lower(self._nano.model, torch.from_numpy(rows.ids))
            if objective not in ("reading", "episodes"):
                return self._predicted(read, rows.targets)
            states = read[torch.from_numpy(rows.places[:, 0]), torch.from_numpy(rows.places[:, 1])]
            distance = self._nano.distance(states, self.taught[torch.from_numpy(rows.texts)].float())
            if objective == "reading":
                return _DISTILLED * distance
            return self._predicted(read, rows.targets) + _DISTILLED * distance

    def _predicted(self, read: Tensor, targets: np.ndarray) -> Tensor:
        """Cross-entropy over the targets, for which alone logits are computed."""
        states = self._upper(self._nano.model, read)
        wanted = torch.from_numpy(targets.reshape(-1))
        places = (wanted != IGNORED).nonzero().squeeze(1)
        logits = self._nano.model.lm_head(states.reshape(-1, states.shape[-1])[places]).float()
        return functional.cross_entropy(logits, wanted[places])


def _optimizers(nano: Nano) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for everything else."""
    matrices = [p for p in nano.model.model.layers.parameters() if p.ndim == 2]
    taken = set(map(id, matrices))
    others = [p for p in nano.parameters() if id(p) not in taken]
    return [
        torch.optim.Muon(matrices, lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    ]
