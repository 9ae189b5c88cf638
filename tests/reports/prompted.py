"""Synthetic records of language models: templates, draws of rows, demonstrations and their costs."""

from __future__ import annotations

import random
from typing import Any

from tests.bench.records.made import dotted
from tests.reports.factory import record, sha
from tunefront.bench.records import Record

TEMPLATES = ("GPT-3 style", "can we infer", "should assume")
TASKS = {"dir:data/rte": 0.72, "dir:data/copa": 0.81, "dir:data/cb": 0.77, "dir:data/wic": 0.55}
MODELS = {"gpt": 1_100_000_000, "t5": 783_000_000}
METHODS = {  # label -> (trained share, points against full)
    "full": (1.0, 0.0),
    "houlsby": (0.008, -0.4),
    "ia3": (0.0002, 1.3),
    "icl:k=0": (0.0, -14.0),
    "icl:k=4": (0.0, -7.0),
    "icl:k=4,order=1": (0.0, -8.0),
    "icl:k=4,order=2": (0.0, -6.0),
    "icl": (0.0, -4.0),
}


def prompted(**changes: Any) -> Record:
    """One plausible ok record of a language model. Any field can be set, also `demonstrations`."""
    label, task = changes.get("label", "full"), changes.get("task", "dir:data/rte")
    icl = label.startswith("icl")
    share, gap = METHODS.get(label, (0.0 if icl else 0.01, -3.0))
    backbone, draw, seed = changes.get("backbone", "gpt"), changes.get("draw_seed", 0), changes.get("seed", 0)
    params, template = MODELS.get(backbone, 10**9), changes.get("template", TEMPLATES[0])
    rng = random.Random(f"{label}{task}{backbone}{template}{draw}{seed}")
    fields = dict(field.split("=") for field in label.partition(":")[2].split(",") if field)
    shots = int(fields.get("k", 32)) if icl else 0
    demonstrations = changes.pop("demonstrations", tuple(f"{draw}-{row}" for row in range(shots)))
    shown = {"k": "none", "order": "0", "balanced": "false", "ensemble": "1", "calibrate": "false", **fields}
    spelled = f"icl:{','.join(f'{name}={value}' for name, value in shown.items())}" if icl else label
    score = TASKS.get(task, 0.6) + (gap + rng.gauss(0, 2.5)) / 100
    per_query, amount = params * 200.0, len(demonstrations)
    base: dict[str, Any] = {
        "method": spelled,
        "label": label,
        "backbone": backbone,
        "model.architecture": "gpt2" if backbone == "gpt" else "t5",
        "model.pooling": None,
        "task": task,
        "template": template,
        "shots": 32,
        "settings": {
            "device": "cpu",
            "threads": 1,
            "max_length": 256,
            "eval_batch_size": 64,
            "eval_rows": None,
            "normalization": "token",
            "context_length": None,
            "published_draws": True,
        },
        "data.draw_source": "few_shot/32_shot",
        "data.eval_split": "validation",
        "data.n_train": 32,
        "data.n_test": 250,
        "data.truncated_test": 4,
        "scores.test": {"accuracy": round(score, 4)},
        "scores.baseline": {"accuracy": 0.5},
        "parameters.trainable": round(share * params),
        "parameters.head": 0,
        "parameters.inserted": round(share * params) if share < 1 else 0,
        "parameters.backbone": params,
        "parameters.total": params,
        "storage.checkpoint_bytes": round(4 * share * params) + 1000 if share else None,
        "flops.train": round(3 * per_query * 8000) if share else 0,
        "training.steps": 1000 if share else 0,
        "seconds.train": 900.0 * rng.uniform(0.9, 1.1) if share else 0.0,
        "examples_per_second.train": 9.0 if share else None,
        "flops.inference_per_example": per_query,
        "fingerprints": {
            "method": sha(spelled),
            "backbone": sha(backbone),
            "task": sha(task),
            "template": sha(f"{task} {template}"),
        },
    }
    if demonstrations:
        base |= {
            "prompt.demonstration_ids": (demonstrations,),
            "prompt.demonstrations_per_row": float(amount),
            "prompt.shortened_test": 0,
            "prompt.prefix_tokens": 90 * amount,
            "flops.prefix": round(2 * params * 90 * amount) if backbone == "gpt" else None,
            "seconds.prefix": 0.4 * amount if backbone == "gpt" else None,
            "prompt.kv_cache_bytes": 98_304 * 90 * amount if backbone == "gpt" else None,
            "storage.demonstration_bytes": 410 * amount,
            "flops.inference_per_example_without_reuse": per_query + 2 * params * 90.0 * amount,
        }
    return record(**{**base, **dotted(changes)})


def prompted_grid(
    methods: Any = tuple(METHODS),
    tasks: Any = tuple(TASKS),
    templates: Any = TEMPLATES,
    draws: Any = (0, 1),
    backbones: Any = tuple(MODELS),
) -> list[Record]:
    """Every combination."""
    return [
        prompted(label=label, task=task, template=template, draw_seed=draw, backbone=backbone)
        for backbone in backbones
        for task in tasks
        for template in templates
        for draw in draws
        for label in methods
    ]


def everything() -> list[Record]:
    """An encoder and two language models: six methods, four tasks, three templates, two draws."""
    encoder = [
        record(
            label=label,
            task=task,
            draw_seed=draw,
            shots=32,
            data__n_train=32,
            settings=prompted().settings,
            data__draw_source="few_shot/32_shot",
            data__eval_split="validation",
        )
        for label in ("full", "houlsby:bottleneck=8", "ia3")
        for task in tuple(TASKS)[:1] + tuple(TASKS)[2:]
        for draw in (0, 1)
    ]
    return [*encoder, *prompted_grid()]
