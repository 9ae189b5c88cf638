"""Silences the libraries' progress bars and log messages, which would mix with ours."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # a tokenizer's threads do not survive a fork
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
}


def quiet_libraries() -> None:
    """Silences the libraries through environment variables, which they read on import; variables already set are
    kept."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the progress bars and warnings of transformers inside this block, and torch's about fake tensors."""
    from transformers.utils import logging as transformers_logging

    fakes = logging.getLogger("torch._subclasses.fake_tensor")  # it logs the traceback of what is caught elsewhere
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    was_off = fakes.disabled
    fakes.disabled = True
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        fakes.disabled = was_off
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Silences the Hub's library inside this block, which logs each retry."""
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    level = get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(level)
