"""`tunefront export`: a fitted method in a form that other software loads."""

from __future__ import annotations

from pathlib import Path

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_plain, quiet_libraries, warnings_on


def export(
    checkpoint: options.Checkpoint,
    out: options.ExportOut,
    to: options.ExportTo,
    backbone: options.BackboneNow = None,
    method: options.OwnMethods = None,
    sites: options.TrainedSites = None,
    debug: options.Debug = False,
) -> None:
    """Write a kept checkpoint in a form that other software loads.

    merged: a whole model for transformers and any server, wherever the method merges into the weights. peft: an adapter
    of Hugging Face peft. adapterhub: one of AdapterHub's adapters. safetensors: the trained tensors and a manifest,
    for every method. A merged model or an adapter of peft is loaded again, and its logits are compared, before the
    command succeeds. A form that cannot express the method exactly is refused, with what can be done instead.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug), warnings_on(errors):
        quiet_libraries()
        from tunefront.bench.checkpoints.exports.writing import check_form, export_checkpoint
        from tunefront.bench.models.sites_file import use_all

        form = check_form(to)
        use_all(sites or ())
        with errors.status("reading the checkpoint and its backbone"):
            from tunefront.bench.checkpoints.loading import open_checkpoint

            stored, fitted = open_checkpoint(checkpoint, backbone, method or (), device="cpu")
            notes = export_checkpoint(fitted, stored, form, Path(out).expanduser())
        console = Console()
        print_plain(console, f"{fitted.manifest.title}: {out} has {form.about}.")
        for note in notes:
            print_plain(console, f"  {note}")
