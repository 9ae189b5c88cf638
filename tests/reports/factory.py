"""Synthetic records with plausible numbers."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from tests.bench.records.made import changed, dotted, nested
from tunefront.bench.records import PhaseFlops, Record, Spread

BACKBONE = 22_713_216
METHODS = {  # label -> (trained share, points against full, noise, FLOPs share)
    "full": (1.0, 0.0, 0.5, 1.0),
    "top_layers:n=1": (0.0783, -6.5, 0.5, 0.45),
    "top_layers:n=2": (0.1566, -3.9, 0.5, 0.53),
    "features": (0.0, -12.0, 0.3, 0.14),
    "houlsby:bottleneck=8": (0.0036, -0.9, 0.6, 0.71),
    "houlsby:bottleneck=64": (0.0269, -0.2, 0.5, 0.76),
    "ia3": (0.0006, -2.1, 0.7, 0.69),
    "bitfit": (0.0021, -1.8, 0.6, 0.67),
}
TASKS = {"sst2": (2, 0.89), "trec": (6, 0.93), "subj": (2, 0.95), "mrpc": (2, 0.82)}


def record(**changes: Any) -> Record:
    """One plausible ok record. Any field can be set, fields of groups as `flops__train`."""
    label, task = changes.get("label", "full"), changes.get("task", "sst2")
    share, gap, noise, flops = METHODS.get(label, (0.01, -3.0, 0.5, 0.7))
    classes, top = TASKS.get(task, (2, 0.8))
    rng = random.Random(f"{label}{task}{changes.get('seed', 0)}{changes.get('draw_seed', 0)}")
    score = round(top + (gap * (1.4 - top) * 2 + rng.gauss(0, noise)) / 100, 4)
    head = 384 * classes + classes
    trained = round(share * BACKBONE) + head
    base: dict[str, Any] = {
        "status": "ok",
        "method": changes.get("method", label),
        "label": label,
        "backbone": "minilm",
        "model.architecture": "bert",
        "model.pooling": "mean",
        "task": task,
        "data.task_kind": "classification",
        "recipe": {"learning_rate": 3e-4, "epochs": 3.0, "batch_size": 32, "dtype": "float32", "dropout": None},
        "settings": {"device": "cpu", "threads": 1, "max_length": 128, "eval_batch_size": 64, "eval_rows": None},
        "data.eval_split": "test",
        "data.n_train": 2000,
        "data.n_test": 872,
        "data.truncated_train": 3,
        "data.truncated_test": 0,
        "scores.headline": "accuracy",
        "scores.test": {"accuracy": score, "f1": score - 0.01},
        "scores.baseline": {"accuracy": 1 / classes + 0.03, "f1": 0.3},
        "parameters.trainable": trained,
        "parameters.head": head,
        "parameters.inserted": trained - head if share < 0.05 else 0,
        "parameters.backbone": BACKBONE,
        "parameters.total": BACKBONE + head,
        "storage.checkpoint_bytes": 4 * trained + 1200,
        "training.steps": 189,
        "flops.train": round(flops * 1.61e13),
        "flops.inference_per_example": 9.1e8 * (1 + share / 10),
        "seconds.train": round(200 * flops * rng.uniform(0.95, 1.05), 3),
        "seconds.eval": round(9.0 * rng.uniform(0.95, 1.05), 3),
        "examples_per_second.train": 30.0 / flops,
        "examples_per_second.eval": 96.9,
        "memory.start_resident_bytes": 640_000_000,
        "memory.train_peak_resident_bytes": round(9e8 + 4e8 * flops * share + 2e8 * flops),
        "memory.eval_peak_resident_bytes": 720_000_000,
        "environment.device": "cpu",
        "environment.host": "node-1",
        "environment.cpu_model": "Example CPU @ 2.50GHz",
        "environment.threads": 1,
        "environment.concurrent_cells": 2,
        "environment.created_at": "2025-01-02T03:04:05Z",
        "environment.git_commit": "0123456789abcdef0123456789abcdef01234567",
        "versions": {"torch": "2.9.0", "transformers": "5.0.0"},
        "fingerprints": {
            "method": sha(label),
            "backbone": sha(changes.get("backbone", "minilm")),
            "task": sha(task),
        },
    }
    base.update(dotted(changes))
    base.setdefault("key", sha(repr(sorted((name, repr(value)) for name, value in base.items()))))
    return Record(**nested(base))


def ledger(made: Record, **changes: Any) -> Record:
    """The same record with plausible breakdowns: files, FLOPs from several sources, memory, seconds."""
    params, trained = made.parameters.backbone or BACKBONE, made.parameters.trainable or 0
    share, rows = min(1.0, trained / params), made.data.n_test or 1
    depth = 1.0 if share < 0.05 or share > 0.9 else 0.3
    full, frozen = 4 * params, 4 * max(0, params - trained)
    activations = round(2.6e8 * (0.4 + 0.6 * share) * depth)
    held = {"frozen_weights": frozen, "trained_weights": 4 * trained, "inputs": 70_000}
    grown = {**held, "gradients": 4 * trained, "optimizer_state": 8 * trained}
    evaluated = {**held, "temporary": 9_000_000, "kv_cache": made.prompt.kv_cache_bytes or 0}
    memory = {"load": {"frozen_weights": full}, "evaluation": evaluated}
    forward = (made.flops.train or 0) // 3
    flops = {"evaluation": _phase(round((made.flops.inference_per_example or 0) * rows))}
    steps = {"evaluation": _spread(0.210)}
    if trained:
        memory |= {
            "forward": {**held, "saved_activations": activations, "temporary": 12_000_000},
            "backward": {**grown, "saved_activations": activations // 2, "temporary": 30_000_000},
            "optimizer": {**grown, "temporary": 4 * trained},
        }
        weights = round(forward * share)
        activation = round(forward * depth)
        flops |= {
            "forward": _phase(forward),
            "backward": _phase(weights + activation, activation_gradients=activation, weight_gradients=weights),
        }
        steps |= {
            "data": _spread(0.0011),
            "forward": _spread(0.061),
            "backward": _spread(0.061 * (depth + 0.9 * share)),
            "optimizer": _spread(0.001 + 0.021 * share),
        }
    base: dict[str, Any] = {
        "storage.checkpoint_dtypes": {"float32": trained} if trained else {},
        "storage.backbone_bytes": full + 12_000,
        "flops.phases": flops,
        "memory.phases": memory,
        "seconds.steps": steps,
    }
    return changed(made, base | dotted(changes))


def plan(made: Record, **changes: Any) -> Record:
    """The prediction of a record: exact parameters, nearly exact FLOPs and memory, rough seconds."""
    memory = {
        phase: {o: round(1.04 * n) for o, n in owners.items()} for phase, owners in (made.memory.phases or {}).items()
    }
    guessed: dict[str, Any] = {
        "status": "planned",
        "scores.test": None,
        "flops.train": None if made.flops.train is None else round(0.998 * made.flops.train),
        "memory.phases": memory or None,
        "seconds.train": None if made.seconds.train is None else 1.3 * made.seconds.train,
        "seconds.eval": None if made.seconds.eval is None else 0.8 * made.seconds.eval,
    }
    return changed(made, guessed | dotted(changes))


def _phase(flops: int, **parts: int) -> PhaseFlops:
    known = {"counted": flops, "analytic": round(flops * 0.997), "elementwise": flops // 40, "rule": round(flops * 0.9)}
    return PhaseFlops(**known, **parts)


def _spread(seconds: float) -> Spread:
    return Spread(median=seconds, low=0.94 * seconds, high=1.1 * seconds, count=180)


def failed(status: str = "failed", reason: str = "loss is not finite at step 12", **changes: Any) -> Record:
    """A skipped or failed record, without measurements."""
    label, task, seed = changes.get("label", "ia3"), changes.get("task", "sst2"), changes.get("seed", 0)
    base = {"method": label, "label": label, "backbone": "minilm", "task": task, "seed": seed, **changes}
    return Record(key=sha(f"{status}{base}"), status=status, reason=reason, **nested(base))


def grid(methods: Any = tuple(METHODS), tasks: Any = tuple(TASKS), seeds: Any = (0, 1), **changes: Any) -> list[Record]:
    """Every method on every task with every seed."""
    return [record(label=m, task=t, seed=s, **changes) for m in methods for t in tasks for s in seeds]


def sha(text: str) -> str:
    """A fingerprint."""
    return hashlib.sha256(text.encode()).hexdigest()
