"""Training a head on features computed once, against transformers' Trainer with the backbone frozen."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.side_by_side import SideBySide, minilm, show, trainer

TARGET = 12
EXAMPLES, EPOCHS, BATCH, LEARNING_RATE = 512, 5, 32, 1e-2
SEEDS = 5
"""Number of seeds for the initial head, the order of rows and dropout, on both sides; all use the same rows."""


class ForTrainer(nn.Module):
    """The backbone and head, with the output that transformers' Trainer expects."""

    def __init__(self, backbone: Any):
        super().__init__()
        self.backbone, self.model = backbone, backbone.model

    def forward(self, labels: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        from tunefront.methods.base import Batch

        logits = self.backbone.score(Batch(inputs, labels, torch.arange(len(labels))))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def test_features_train_faster_than_a_trainer_with_a_frozen_backbone(
    benchmark: Any, task_name: str, tmp_path: Path
) -> None:
    from tunefront.bench.data import sampling, sources
    from tunefront.methods.base import Recipe
    from tunefront.methods.features import Features

    task = sources.load_task(task_name)
    recipe = replace(Recipe(), learning_rate=LEARNING_RATE, epochs=EPOCHS, batch_size=BATCH)
    rows, tested = sampling.draw(task, EXAMPLES, 0), sampling.eval_rows(task, None)
    ours, theirs = minilm(), minilm()
    fresh = ours.fresh_copy(task, 0)
    train, test = fresh.encode(task, rows, 128), fresh.encode(task, tested, 128)
    assert len(train) >= 500
    plain = [
        {name: column[row].tolist() for name, column in train.columns.items()} | {"labels": int(train.labels[row])}
        for row in range(len(train))
    ]
    states = trainer(fresh.model, recipe, "test").score(fresh.features, test).values  # frozen: the same for both
    accuracy: dict[str, list[float]] = {"features": [], "Trainer": []}

    def score(name: str, backbone: Any) -> None:
        backbone.model.eval()
        scores = backbone.score(test.with_features(states).batch(range(len(test))))
        accuracy[name].append(float((scores.argmax(1) == test.labels).float().mean()))

    def features() -> None:
        seed = len(accuracy["features"])
        method, backbone = Features(), ours.fresh_copy(task, seed)
        method.attach(backbone)
        method.fit(backbone, train, trainer(backbone.model, recipe, "features", seed))
        score("features", backbone)

    def with_trainer() -> None:
        seed = len(accuracy["Trainer"])
        backbone = theirs.fresh_copy(task, seed)
        Features().attach(backbone)
        _frozen_trainer(backbone, plain, recipe, seed, tmp_path).train()
        score("Trainer", backbone)

    timed = SideBySide(benchmark, {"features": features, "Trainer": with_trainer}, rounds=SEEDS, warmup=0)
    faster = timed.ratio("Trainer", "features")
    leads = [here - there for here, there in zip(accuracy["features"], accuracy["Trainer"], strict=True)]
    lead = f"{statistics.mean(leads):+.4f} ± {statistics.stdev(leads) / SEEDS**0.5:.4f}"
    show(
        benchmark,
        f"{EPOCHS} epochs over {len(train)} examples of {Path(task_name).name}, frozen backbone",
        [
            {
                "what": name,
                "seconds": timed.median(name),
                "times faster": timed.ratio("Trainer", name),
                "target": TARGET if name == "features" else "",
                "test accuracy": f"{statistics.mean(accuracy[name]):.4f}",
                f"its sd over {SEEDS} seeds": f"{statistics.stdev(accuracy[name]):.4f}",
                "lead ± standard error": lead if name == "features" else "",
            }
            for name in ("features", "Trainer")
        ],
    )
    assert faster > 4
    assert statistics.mean(leads) > -0.005


def _frozen_trainer(backbone: Any, rows: list[dict[str, Any]], recipe: Any, seed: int, folder: Path) -> Any:
    """transformers' Trainer with the values of the recipe: random batches, each padded to its longest row.

    Its frozen backbone uses the dropout of the checkpoint in training mode; `features` computes states without dropout.
    """
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.beta1,
        adam_beta2=recipe.beta2,
        adam_epsilon=recipe.epsilon,
        warmup_steps=round(recipe.warmup * recipe.epochs * -(-len(rows) // recipe.batch_size)),
        max_grad_norm=recipe.clip_norm,
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    return Trainer(
        model=ForTrainer(backbone),
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(backbone.tokenizer),
    )
