"""Many fitted tasks on one backbone, and their rows: what mixed batches are measured on.

The modules are not trained: they have the sizes of trained ones, and values that change every score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tunefront.bench.meters.ways import Serving

TASKS = (2, 4, 8, 16, 32, 64)
BACKBONES = {"minilm": ("ia3", "lora:rank=8", "houlsby:bottleneck=8"), "nano": ("ia3", "lora:rank=8")}
"""Backbone -> methods whose tasks are mixed."""
ROWS = 64
"""Rows that arrive together, of all tasks in turn."""


def serving(backbone: str, method: str, n_tasks: int, separate: bool = True) -> Serving:
    """One method on this many tasks, with `ROWS` rows of all of them together, of texts of up to 64 tokens."""
    from tests.toys import Untrained, fresh_copy, harness, shake
    from tunefront.bench.data import sources
    from tunefront.bench.meters.ways import Serving
    from tunefront.bench.models.routing.member import Member
    from tunefront.bench.models.routing.rows import MixedRows
    from tunefront.methods.spelling import parse

    task, fitted = sources.load_task("docstrings/kind"), parse(method)
    texts = task.splits["test"][:ROWS]
    members, examples = [], []
    for number in range(n_tasks):
        model: Any = fresh_copy(backbone, task, seed=number)
        fitted.attach(model)
        scorer = fitted.fit(
            model, model.encode(task, task.splits["train"][:8], 64), harness(model, fitted, kind=Untrained)
        )
        shake(model.trainable(), 0.01)
        members.append(Member.of(str(number), model, scorer))
        examples.append(model.encode(task, texts[number::n_tasks], 64))
    published = fresh_copy(backbone, task)
    return Serving(published, members, MixedRows.of(published, examples), ROWS, ROWS, separate)


def largest_difference(made: Serving) -> float:
    """Of scores in one mixed batch from those of one task after another."""
    rows = made.rows
    mixed = dict(zip(rows.tags, made.router.score_rows(rows, rows.tags), strict=True))
    alone = {
        tag: scores
        for member in range(len(made.members))
        for tags in [[tag for tag in rows.tags if tag[0] == member]]
        for tag, scores in zip(tags, made.router.score_rows(rows, tags), strict=True)
    }
    return max(float((mixed[tag] - alone[tag]).abs().max()) for tag in mixed)


class PeftMixed:
    """peft's mixed batches of LoRA on an encoder: as many adapters of the same sizes, on the same rows in the same
    passes. It has none for (IA)^3."""

    def __init__(self, made: Serving, rank: int = 8):
        import peft

        model = made.published.model
        config = peft.LoraConfig(r=rank, target_modules=["query", "value"], init_lora_weights=False)
        for number in range(len(made.members)):
            if number == 0:
                self.model = peft.get_peft_model(_copied(model), config, "0")
            else:
                self.model.add_adapter(str(number), config)
        self.model.eval()
        self._made = made

    def run(self) -> None:
        """Scores all rows up to the pooled state."""
        from tunefront.bench.models.routing.passes import joined

        rows = self._made.rows
        with torch.no_grad():
            for tags in rows.order(ROWS):
                batches = rows.batches(tags)
                inputs = {name: joined([batch.inputs[name] for _, batch in batches]) for name in batches[0][1].inputs}
                names = [str(member) for member, batch in batches for _ in range(len(batch.rows))]
                self.model(**inputs, adapter_names=names)


def _copied(model: torch.nn.Module) -> Any:  # Any: transformers' models
    import copy

    copied = copy.deepcopy(model)
    del copied.head
    return copied
