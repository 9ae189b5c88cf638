"""Our side: scores choices after demonstrations that are read once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from tests.toys import loaded
from tunefront.bench.data.task import Task
from tunefront.bench.models.families import Decoder, Prompting
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.settings import RunConfig
from tunefront.bench.templates import find_template


class Evaluation:
    """The tokenised test rows of a task after its first training rows, by the task's own template (`plain` if it has
    none); makes earlier instances invalid."""

    def __init__(self, folder: Path, task: Task, shots: int):
        prompting = Prompting(find_template(task, None), normalization="none")
        self.backbone = cast(Decoder, loaded(str(folder)).fresh_copy(task, 0, prompting=prompting))
        self.backbone.model.eval()
        self.backbone.probe_packing()
        self.examples = self.backbone.encode(task, task.splits["test"])
        self._prefix = None
        if shots:
            train: PromptedExamples = self.backbone.encode(task, task.splits["train"])
            self._prefix = self.backbone.prefix(train.take(range(shots)))
            self.examples = self._prefix.demonstrations.prepend_to(self.examples)

    def run(self) -> Tensor:
        """(rows, choices) log-likelihoods: reads the demonstrations and scores every row, as in a cell."""
        scored: dict[int, Tensor] = {}
        with torch.inference_mode():
            prefix = self.backbone.read(self._prefix) if self._prefix else None
            for rows in self.examples.scoring_order(RunConfig().eval_batch_size):
                scores = self.backbone.score(self.examples.batch(rows), prefix)
                scored.update(zip(rows, scores, strict=True))
        return torch.stack([scored[row] for row in range(len(scored))])

    @torch.inference_mode()
    def run_plainly(self, rows: Sequence[int]) -> Tensor:
        """The same for some rows, with a separate forward pass over all tokens for each choice."""

        def loglikelihood(before: list[int], choice: list[int]) -> float:
            states = self.backbone.model(torch.tensor([[*before, *choice[:-1]]])).logits.log_softmax(-1)
            return float(states[0, -len(choice) :][range(len(choice)), choice].sum())

        queries, choices = self.queries, self.choices
        return torch.tensor(
            [[loglikelihood([*self.before, *queries[row]], choice) for choice in choices[row]] for row in rows]
        )

    @property
    def before(self) -> list[int]:
        """The tokens of the demonstrations."""
        return self._prefix.demonstrations.ids if self._prefix else []

    @property
    def queries(self) -> list[list[int]]:
        """The tokens of each row after the demonstrations."""
        rows = self.examples.columns["input_ids"]
        if self._prefix:
            rows = self.examples.by_prefix[self._prefix.demonstrations.name].tokens
        return [row.tolist() for row in rows]

    @property
    def choices(self) -> list[list[list[int]]]:
        """The choices of each row as tokens."""
        return [[choice.tolist() for choice in choices] for choices in self.examples.choices]

    @property
    def lengths(self) -> list[tuple[int, list[int]]]:
        """Numbers of tokens of the query of each row and of its choices."""
        return [
            (len(query), [len(choice) for choice in choices])
            for query, choices in zip(self.queries, self.choices, strict=True)
        ]
