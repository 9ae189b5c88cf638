"""`tunefront predict`: the rows of a file in, labels and probabilities out."""

from __future__ import annotations

import logging
from pathlib import Path

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_plain, quiet_libraries, warnings_on

log = logging.getLogger("tunefront")


def predict(
    checkpoint: options.Checkpoint,
    file: options.RowsFile,
    out: options.PredictOut = None,
    backbone: options.BackboneNow = None,
    method: options.OwnMethods = None,
    sites: options.TrainedSites = None,
    debug: options.Debug = False,
) -> None:
    """Answer the rows of FILE with a kept checkpoint.

    Writes a line for each row, in their order: the label, and for every label its probability and score; for regression
    the value. FILE has the columns that the task reads, as in training; labels are not read, and a column idx or id
    names the rows. A stopped call goes on where it was. Keep checkpoints with `tunefront run --keep checkpoints`.
    """
    errors = Console(stderr=True)
    stopped = "Stopped; the same command goes on where it stopped."
    with handle_errors(errors, debug, stopped=stopped), warnings_on(errors):
        quiet_libraries()
        from tunefront.bench.checkpoints.prediction import check_place, predict_file
        from tunefront.bench.cli.progress import plural
        from tunefront.bench.models.sites_file import use_all

        place = Path(out or f"{file}.predictions.jsonl").expanduser()
        check_place(place)
        use_all(sites or ())
        with errors.status("reading the checkpoint and its backbone") as status:
            from tunefront.bench.checkpoints.loading import open_checkpoint

            stored, fitted = open_checkpoint(checkpoint, backbone, method or ())
            print_plain(errors, f"{fitted.manifest.title}, trained with seed {fitted.manifest.seed}")
            predicted = predict_file(
                fitted,
                stored.sha256,
                file,
                place,
                lambda done, total: status.update(f"answered {done:,} of {total:,} rows"),
            )
        if predicted.n_empty:
            log.warning(
                "%s of %s lack a text, and so have no answer", f"{predicted.n_empty:,}", plural(predicted.n_rows, "row")
            )
        earlier = f", {predicted.n_earlier:,} of them by an earlier call" if predicted.n_earlier else ""
        print_plain(Console(), f"{plural(predicted.n_rows, 'row')} answered{earlier}: {predicted.path}")
