"""Silence from the libraries: their bars and chatter have no place among what is told of cells."""

from __future__ import annotations

import os

_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # a tokenizer's threads do not survive a fork
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
}


def quiet_libraries() -> None:
    """Keeps the libraries' bars and chatter out of what is told; what a person set in the environment stays. Libraries
    read it once, as they are imported."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
