"""`python -m tests.peers [PART ...] [--rounds N]`: this suite and others side by side, in tables.

- `parity`: outputs and gradients of methods here and in peft, on the same weights; a difference fails the command.
- `steps`: a training step here, in peft and in AdapterHub, in turn.
- `scoring`: choices scored after demonstrations here and in lm-evaluation-harness, in turn.

All of them where none is named. AdapterHub runs in the environment whose folder TUNEFRONT_ADAPTERHUB names (`tox -e
adapterhub` makes it) and is left out where there is none.
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
    """The exit status: 1 where methods differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, help="of each time that is measured")
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
