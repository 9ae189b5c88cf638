"""Trains `nano` again: `OMP_NUM_THREADS=2 python -m nano PACKAGES`, about 90 minutes.

On the packages of requirements.txt the result is the model in `bench/models/nano/`, up to rounding: sums on another
processor, or with another number of threads, differ in the last bits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from nano.material import prepare
from nano.shape import CONTEXT
from nano.start import begin
from nano.tokens import END
from nano.training import train


def main(packages: Path, out: Path) -> None:
    """Trains, and writes the model with its tokenizer as float16 to the folder `out`."""
    material = prepare(packages)
    nano = begin(material)
    train(nano, material)
    nano.model.half().save_pretrained(out)
    PreTrainedTokenizerFast(
        tokenizer_object=material.tokenizer,
        eos_token=END,
        pad_token=END,
        model_max_length=CONTEXT,
        padding_side="right",
    ).save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m nano", description="Trains nano again.")
    parser.add_argument("packages", type=Path, help="pip install --no-deps --target PACKAGES -r nano/requirements.txt")
    parser.add_argument("--out", type=Path, default=Path("data_cache", "nano"), help="folder of the model")
    main(**vars(parser.parse_args()))
