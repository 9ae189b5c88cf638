"""The plain form: the checkpoint, and beside it what it says about itself, to be read without this suite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tunefront.bench.checkpoints.stored import FILE_NAME, MANIFEST_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.checkpoints.exports.form import Exportable
    from tunefront.bench.checkpoints.loading import Fitted
    from tunefront.bench.checkpoints.stored import StoredCheckpoint


class Tensors:
    """The trained tensors as safetensors, with a manifest."""

    about = "the trained tensors with a manifest, for `tunefront predict`"

    def check(self, subject: Exportable) -> None:
        """Every checkpoint has this form."""

    def write(self, fitted: Fitted, stored: StoredCheckpoint, folder: Path) -> list[str]:
        """The file as it was kept, byte for byte."""
        (folder / FILE_NAME).write_bytes(stored.content)
        write_manifest(fitted, stored, folder)
        return []


def write_manifest(fitted: Fitted, stored: StoredCheckpoint, folder: Path) -> None:
    """The manifest as JSON, with the sha256 of the checkpoint that it came from."""
    content = {"checkpoint_sha256": stored.sha256, **json.loads(fitted.manifest.model_dump_json())}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (folder / MANIFEST_NAME).write_text(f"{text}\n", encoding="utf-8")
