"""AdapterHub's side, run by the Python of its own environment: `adapters` needs an older transformers than this suite.

It reads one JSON object per line from standard input and writes each result to standard output; see `Child`. It
imports nothing from this suite.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from importlib.metadata import version

import adapters
import torch
import transformers
from safetensors.torch import load_file, save_file

ADAPTER = "peer"


class Classifier(torch.nn.Module):
    """An encoder with a linear layer on the mean of its states over all tokens except padding."""

    def __init__(self, folder: str, outputs: int):
        super().__init__()
        rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        config = transformers.BertConfig.from_pretrained(folder, **rates)
        self.encoder = transformers.BertModel.from_pretrained(folder, config=config, add_pooling_layer=False)
        self.head = torch.nn.Linear(config.hidden_size, outputs)

    def loss(self, batch):
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        states = self.encoder(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
        pooled = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return torch.nn.functional.cross_entropy(self.head(pooled), batch["labels"])


class Child:
    """The methods for each `do`; `made` has the classifiers by name, each with an optimiser and a batch."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[Classifier, torch.optim.Optimizer, dict[str, torch.Tensor]]] = {}

    def versions(self):
        """The versions of its packages."""
        return {name: version(name) for name in ("adapters", "transformers", "torch")}

    def make(self, name, folder, config, arguments, also, values, batch, learning_rate):
        """Makes a classifier with a method of AdapterHub, given by the class of its configuration and its arguments;
        without one, everything is trained.

        `values` is a safetensors file with the trained tensors, including the head; `also` are suffixes of further
        modules to train.
        """
        tensors, batch = load_file(values), load_file(batch)
        classifier = Classifier(folder, tensors["head.weight"].shape[0])
        if config is not None:
            adapters.init(classifier.encoder)
            classifier.encoder.add_adapter(ADAPTER, config=getattr(adapters, config)(**arguments))
            classifier.encoder.train_adapter(ADAPTER)
            for path, module in classifier.encoder.named_modules():
                if also and path.endswith(tuple(also)):
                    module.requires_grad_(True)
        trained = {path: parameter for path, parameter in classifier.named_parameters() if parameter.requires_grad}
        with torch.no_grad():
            for path, tensor in tensors.items():
                trained[path].copy_(tensor.reshape(trained[path].shape))
        classifier.train()
        optimizer = torch.optim.AdamW(trained.values(), lr=learning_rate, weight_decay=0.0, fused=True)
        self.made[name] = (classifier, optimizer, batch)

    def gradients(self, name, file):
        """Returns the loss and writes the gradients of the trained tensors."""
        classifier, optimizer, batch = self.made[name]
        loss = classifier.loss(batch)
        loss.backward()
        save_file({path: p.grad for path, p in classifier.named_parameters() if p.grad is not None}, file)
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def steps(self, name, count):
        """Returns the seconds of `count` training steps: wall-clock and processor time."""
        classifier, optimizer, batch = self.made[name]
        clock, processor = time.perf_counter(), time.process_time()
        for _ in range(count):
            classifier.loss(batch).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return [time.perf_counter() - clock, time.process_time() - processor]

    def drop(self, name):
        """Deletes a classifier."""
        del self.made[name]


def main() -> None:
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with results
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    transformers.logging.disable_progress_bar()
    child = Child()
    for line in sys.stdin:
        call = json.loads(line)
        result = getattr(child, call.pop("do"))(**call)
        print(json.dumps(result), file=results, flush=True)


if __name__ == "__main__":
    main()
