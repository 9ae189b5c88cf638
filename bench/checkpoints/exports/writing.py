"""Writes an export: into a new folder, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.checkpoints.exports.form import Exportable
from tunefront.bench.checkpoints.exports.forms import FORMS, reason_against, servable
from tunefront.bench.errors import UserError, unknown
from tunefront.bench.files import check_local, explain_os_error
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.checkpoints.exports.form import Form
    from tunefront.bench.checkpoints.loading import Fitted
    from tunefront.bench.checkpoints.stored import StoredCheckpoint


def check_form(name: str) -> Form:
    """The form of this name. UserError, with the nearest name, if there is none."""
    if name not in FORMS:
        raise UserError(f"--to: {unknown('form of export', name, FORMS)}")
    return FORMS[name]


def export_checkpoint(fitted: Fitted, stored: StoredCheckpoint, form: Form, out: Path) -> list[str]:
    """Writes a fitted method in a form into the new folder `out`; returns notes about what was written.

    Errors: UserError, with the forms that there are, if this one cannot express it, and if the folder is not new or is
    a URL.
    """
    check_local(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} exists already; give a folder that does not exist, or an empty one.")
    what = Exportable.of(fitted)
    reason = reason_against(form, what)
    if reason is not None:
        raise UserError(_refusal(fitted, form, reason, what))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
            folder = Path(name) / "export"
            folder.mkdir()
            try:
                notes = form.write(fitted, stored, folder)
            except Unsupported as error:
                raise UserError(_refusal(fitted, form, str(error), what)) from error
            if out.exists():
                out.rmdir()
            shutil.move(folder, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {explain_os_error(error)}") from error
    return notes


def _refusal(fitted: Fitted, form: Form, reason: str, what: Exportable) -> str:
    name = next(name for name, other in FORMS.items() if other is form)
    others = [f"--to {other}" for other in servable(what) if other != name]
    instead = f" It can be exported with {' or '.join(others)}." if others else ""
    return f"{fitted.manifest.title} cannot be exported as {name}: {reason}.{instead}"
