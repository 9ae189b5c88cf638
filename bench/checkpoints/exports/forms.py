"""The forms in which a fitted method can be exported, and which of them a method on a backbone has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunefront.bench.checkpoints.exports.adapterhub import AdapterHub
from tunefront.bench.checkpoints.exports.merged import Merged
from tunefront.bench.checkpoints.exports.peft_adapter import PeftAdapter
from tunefront.bench.checkpoints.exports.tensors import Tensors
from tunefront.bench.errors import in_short
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.checkpoints.exports.form import Exportable, Form

FORMS: Mapping[str, Form] = {
    "merged": Merged(),
    "peft": PeftAdapter(),
    "adapterhub": AdapterHub(),
    "safetensors": Tensors(),
}
"""Every form by its name, the most portable first."""


def servable(subject: Exportable) -> tuple[str, ...]:
    """The names of the forms that a fitted method has here."""
    return tuple(name for name, form in FORMS.items() if reason_against(form, subject) is None)


def reason_against(form: Form, subject: Exportable) -> str | None:
    """Why a fitted method has no such form; None if it has."""
    try:
        form.check(subject)
    except Unsupported as reason:
        return str(reason)
    except Exception as error:  # of a user's own `exported` or `scorer`
        return in_short(error)
    return None
