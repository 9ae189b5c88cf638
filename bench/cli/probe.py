"""`tunefront probe`: what a model is, and which methods run on it."""

from __future__ import annotations

import json

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_raw, quiet_libraries, warnings_on


def probe(
    model: options.Model,
    sites: options.SitesFiles = None,
    method: options.TriedMethods = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Show what MODEL is and which methods run on it, before anything runs.

    One screen: the architecture and its class, parameters and stored types, the most tokens that it reads, what a head
    reads, the tokenizer against the embedding, and for every method whether it runs, how many parameters it trains, or
    why it does not run. For an architecture without a record of sites, which most methods need, it proposes one: copy
    it into a file for --sites of `tunefront run`. Nothing is written. Exit code: 0; 2 if nothing can run.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, stopped="Stopped; nothing was written.", prints=True), warnings_on(errors):
        quiet_libraries()
        from tunefront.bench.models.sites_file import use_all
        from tunefront.bench.probe.probing import probe as look_at

        use_all(sites or ())
        with errors.status("") as status:
            found = look_at(model, method or (), on_step=lambda text: status.update(text))
        if as_json:
            print_raw(json.dumps(found.as_json(), indent=1))
            return
        from tunefront.bench.cli.probe_screen import show

        show(found, Console())
