"""Trains `nano`: seeded, resumable from a checkpoint, on a CPU or a GPU. Needs torch 2.9 (Muon)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tunefront.bench.nano import heads, recall, shape
from tunefront.bench.nano.curriculum import FITTED_ON, STAGES, Stage
from tunefront.bench.nano.episodes import IGNORED, Rows
from tunefront.bench.nano.preparation import Material
from tunefront.bench.nano.runs import Run
from tunefront.bench.nano.shape import Nano

RATE, WARMUP, DECAY, CLIP = 2e-3, 100, 0.1, 1.0
SAVED_EVERY, LOGGED_EVERY, PROBED_EVERY = 200, 10, 200
_FITTED_ROWS, _FITTED_LENGTH, _FITTED_TEXTS = 48, 512, 20_000
_DISTILLED = 8.0
"""Weight of the distillation loss relative to the label loss, whose gradient is much larger."""


class Training:
    """The training loop.

    Args: probes, episodes to monitor progress, by name; out, the folder of the checkpoint, the curves (`curves.jsonl`)
    and the description of the run (`run.json`); compiled, whether to compile both halves of the model, which pays off
    after some minutes.
    """

    def __init__(
        self,
        nano: Nano,
        material: Material,
        probes: Mapping[str, Sequence[Rows]],
        out: Path,
        device: torch.device,
        stages: Sequence[Stage] = STAGES,
        seed: int = 0,
        compiled: bool = True,
    ):
        self._nano, self._material, self._probes = nano.to(device), material, probes
        self._run, self._device, self._seed = Run(out), device, seed
        self._episodes = material.episodes(material.train)
        embeddings = material.train.embeddings.float()
        self._taught = functional.normalize(embeddings - embeddings.mean(0), dim=-1).half()
        self._stages, self._rng = stages, np.random.default_rng(seed)
        self._optimizers = _optimizers(nano)
        self._step = self._tokens = 0
        self._seconds = 0.0
        self._lower: Callable[..., Tensor] = shape.lower
        self._upper: Callable[..., Tensor] = shape.upper
        if compiled:
            self._lower, self._upper = (torch.compile(half, dynamic=False) for half in (shape.lower, shape.upper))

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self._stages)

    def run(self) -> None:
        """Trains from the checkpoint, if there is one, to the end of the last stage.

        Errors: UserError if the folder has a run with another seed, stages or text.
        """
        self._run.begin(
            {
                "seed": self._seed,
                "stages": [asdict(stage) for stage in self._stages],
                **self._material.facts,
                "device": self._device.type,
                "threads": torch.get_num_threads(),
            }
        )
        self._resume()
        started = time.perf_counter() - self._seconds
        while self._step < self.steps:
            stage, within = self._where()
            if stage.fits_heads and within == 0:
                self._fit_heads()
            rate = self._rate(stage, within)
            metrics = self._one_step(stage, rate)
            self._step += 1
            self._seconds = time.perf_counter() - started
            if self._step % LOGGED_EVERY == 0:
                self._log({"stage": stage.name, "rate": rate, **metrics})
            if self._step % PROBED_EVERY == 0 or self._step == self.steps:
                self._log({"stage": stage.name, "probes": self._probed()})
            if self._step % SAVED_EVERY == 0 or self._step == self.steps:
                self._save()

    def _fit_heads(self) -> None:
        drawn = self._episodes.batch(_FITTED_ROWS, _FITTED_LENGTH, FITTED_ON, self._rng)
        self._nano.cpu()
        heads.fit(self._nano, self._taught[:_FITTED_TEXTS].float(), drawn)
        self._nano.to(self._device)

    def _where(self) -> tuple[Stage, int]:
        before = 0
        for stage in self._stages:
            if self._step < before + stage.steps:
                return stage, self._step - before
            before += stage.steps
        raise ValueError("all stages are done")

    def _rate(self, stage: Stage, within: int) -> float:
        """Warm-up, then the stage's share of the rate, falling linearly to its final share."""
        falling = stage.rate + (stage.final_rate - stage.rate) * within / stage.steps
        return RATE * min(1.0, (self._step + 1) / WARMUP) * falling

    def _one_step(self, stage: Stage, rate: float) -> dict[str, Any]:
        kinds = list(stage.mix)
        shares = np.array([stage.mix[kind] for kind in kinds])
        kind = kinds[self._rng.choice(len(kinds), p=shares / shares.sum())]
        self._nano.train()
        loss, metrics, tokens = self._loss(kind, stage)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._nano.parameters(), CLIP)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._tokens += tokens
        return {"objective": kind, "loss": float(loss.detach()), "gradient_norm": float(norm), **metrics}

    def _loss(self, kind: str, stage: Stage) -> tuple[Tensor, dict[str, float], int]:
        material, rows = self._material, stage.tokens // stage.length
        if kind == "phrases":
            ids, targets = recall.phrases(rows, stage.length, material.recalled, self._rng)
            return self._next_tokens(ids, targets)
        if kind == "labelled":
            ids, targets = recall.labelled(
                rows, stage.length, material.recalled, material.reserved, material.layout, self._rng
            )
            return self._next_tokens(ids, targets)
        if kind == "language":
            starts = self._rng.integers(0, len(material.documents) - stage.length - 1, rows)
            both = np.stack([material.documents[start : start + stage.length + 1] for start in starts]).astype(np.int64)
            return self._next_tokens(both[:, :-1], both[:, 1:])
        drawn = self._episodes.batch(rows, stage.length, stage.difficulty, self._rng)
        return self._pairs(drawn, labels=kind == "episodes")

    def _next_tokens(self, ids: np.ndarray, targets: np.ndarray) -> tuple[Tensor, dict[str, float], int]:
        with self._autocast():
            states = self._states(ids)[1]
            loss, right = self._predicted(states, targets)
        return loss, {"accuracy": right}, ids.size

    def _pairs(self, drawn: Rows, labels: bool) -> tuple[Tensor, dict[str, float], int]:
        with self._autocast():
            inputs = torch.from_numpy(drawn.ids).to(self._device)
            read = self._lower(self._nano.model, inputs)
            at = torch.from_numpy(drawn.places).to(self._device)
            taught = self._taught[torch.from_numpy(drawn.texts)].to(self._device).float()
            distance = self._nano.distance(read[at[:, 0], at[:, 1]], taught)
            metrics = {"distance": float(distance.detach())}
            if not labels:
                return _DISTILLED * distance, metrics, drawn.ids.size
            loss, right = self._predicted(self._upper(self._nano.model, read), drawn.targets)
        return (
            loss + _DISTILLED * distance,
            {**metrics, "labels_loss": float(loss.detach()), "accuracy": right},
            drawn.ids.size,
        )

    def _states(self, ids: np.ndarray) -> tuple[Tensor, Tensor]:
        read = self._lower(self._nano.model, torch.from_numpy(ids).to(self._device))
        return read, self._upper(self._nano.model, read)

    def _predicted(self, states: Tensor, targets: np.ndarray) -> tuple[Tensor, float]:
        """Cross-entropy over the targets, for which alone logits are computed; and the share predicted right."""
        wanted = torch.from_numpy(targets.reshape(-1)).to(self._device)
        places = (wanted != IGNORED).nonzero().squeeze(1)
        wanted = wanted[places]
        logits = self._nano.model.lm_head(states.reshape(-1, states.shape[-1])[places]).float()
        loss = functional.cross_entropy(logits, wanted)
        return loss, float((logits.argmax(-1) == wanted).float().mean())

    @torch.no_grad()
    def _probed(self) -> dict[str, dict[str, float]]:
        """Accuracy among the episode's labels, by the number of preceding pairs."""
        self._nano.eval()
        accuracies: dict[str, dict[str, float]] = {}
        for name, batches in self._probes.items():
            right, seen = [], []
            for drawn in batches:
                with self._autocast():
                    inputs = torch.from_numpy(drawn.ids).to(self._device)
                    states = shape.upper(self._nano.model, shape.lower(self._nano.model, inputs))
                    picked = states[torch.from_numpy(drawn.places[:, 0]), torch.from_numpy(drawn.places[:, 1])]
                    logits = self._nano.model.lm_head(picked).float().cpu()
                candidates = torch.from_numpy(drawn.candidates)
                scores = logits.gather(1, candidates.clamp(min=0)).masked_fill(candidates < 0, -torch.inf)
                right.append((scores.argmax(-1) == torch.from_numpy(drawn.right)).float())
                seen.append(torch.from_numpy(drawn.seen))
            hit, pairs = torch.cat(right), torch.cat(seen)
            accuracies[name] = {
                f"{low}-{high - 1}": round(float(hit[inside].mean()), 4)
                for low, high in ((0, 1), (1, 4), (4, 8), (8, 16), (16, 24), (24, 40))
                if (inside := (pairs >= low) & (pairs < high)).any()
            }
        return accuracies

    def _autocast(self) -> Any:
        return torch.autocast(self._device.type, torch.bfloat16)

    def _log(self, line: dict[str, Any]) -> None:
        self._run.log({"step": self._step, "tokens": self._tokens, "seconds": round(self._seconds, 1), **line})

    def _save(self) -> None:
        self._run.save(
            {
                "nano": self._nano.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
                "step": self._step,
                "tokens": self._tokens,
                "seconds": self._seconds,
                "rng": self._rng.bit_generator.state,
            }
        )

    def _resume(self) -> None:
        checkpoint = self._run.resumed(self._device)
        if checkpoint is None:
            return
        self._nano.load_state_dict(checkpoint["nano"])
        for optimizer, state in zip(self._optimizers, checkpoint["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self._step, self._tokens, self._seconds = checkpoint["step"], checkpoint["tokens"], checkpoint["seconds"]
        self._rng.bit_generator.state = checkpoint["rng"]


def _optimizers(nano: Nano) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for everything else."""
    matrices = [p for p in nano.model.model.layers.parameters() if p.ndim == 2]
    taken = set(map(id, matrices))
    others = [p for p in nano.parameters() if id(p) not in taken]
    return [
        torch.optim.Muon(matrices, lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    ]
