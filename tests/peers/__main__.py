"""`python -m tests.peers [PART ...] [--rounds N]`: compares this suite with others, in tables.

- `parity`: outputs and gradients of methods here and in peft, with equal weights; a difference fails the command.
- `steps`: a training step here, in peft and in AdapterHub, timed in turn.
- `scoring`: scoring choices after demonstrations here and in lm-evaluation-harness, timed in turn.

All parts run by default. AdapterHub runs in the environment in the folder TUNEFRONT_ADAPTERHUB (made with `tox -e
adapterhub`) and is left out without it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"

from tunefront.bench.quiet import quiet, quiet_libraries

quiet_libraries()

PARTS = ("parity", "steps", "scoring")


def main() -> int:
    """Returns the exit status: 1 if methods differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, help="number of rounds to time")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {arguments.rounds}")
    with quiet():
        return _run(arguments.parts or PARTS, arguments.rounds)


def _run(parts: Sequence[str], rounds: int | None) -> int:
    agreed = True
    if "parity" in parts:
        from tests.peers import parity

        agreed = parity.main()
    if "steps" in parts:
        from tests.peers import steps

        steps.main(rounds or steps.ROUNDS, os.environ.get("TUNEFRONT_ADAPTERHUB"))
    if "scoring" in parts:
        from tests.peers import scoring

        scoring.main(rounds or scoring.ROUNDS)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
