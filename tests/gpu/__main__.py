"""`python -m tests.gpu [--device cuda] [--tiny] [--minutes M] [--out FILE]`: checks that need a GPU, in one table.

- `memory`: bytes by owner against the allocator's peaks, and a plan against the run, on BERT-large and T5-large.
- `prompts`: 32 demonstrations on a Llama of a billion parameters, here and in lm-evaluation-harness and vLLM if they
  are installed.
- `tfew`: T-Few's recipe on T5-large: seconds, memory, use of the device.

Weights are random, of the published shapes; nothing is downloaded. FILE gets every figure as soon as it is known. Exit
code 1 lists what a figure shows to be wrong; each section says what that is. A step that begins after its section's
share of the minutes is left out and says so. `--device cpu --tiny` goes the same way with toys.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"

from tests.gpu import memory, prompts, tfew
from tests.gpu.material import Material
from tests.gpu.results import Results, Step
from tunefront.bench.quiet import quiet, quiet_libraries

SECTIONS: tuple[tuple[str, Callable[[Material], Iterator[Step]], float], ...] = (
    (memory.SECTION, memory.steps, 0.6),
    (prompts.SECTION, prompts.steps, 0.8),
    (tfew.SECTION, tfew.steps, 1.0),
)
"""Name, steps, and the share of the budget at which it ends."""
MINUTES = 11.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a figure is wrong, 2 without the device."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=str(__doc__).split("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--tiny", action="store_true", help="toys in place of the published shapes")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"the budget, {MINUTES:g} by default")
    parser.add_argument("--out", type=Path, default=Path("results", "gpu.json"), help="the file of figures")
    given = parser.parse_args(arguments)
    import torch

    try:
        device = torch.device(given.device)
    except RuntimeError:
        parser.error(f"--device takes cuda, cuda:N or cpu, got {given.device!r}")
    if given.minutes <= 0:
        parser.error(f"--minutes must be more than 0, got {given.minutes:g}")
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no CUDA; --device cpu --tiny tries the script without it")
    quiet_libraries()
    machine: dict[str, Any] = {
        "device": given.device,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "torch": torch.__version__,
        "tiny": given.tiny,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    results = Results(given.out, machine, 60 * given.minutes)
    with tempfile.TemporaryDirectory() as folder, quiet():
        material = Material(given.device, given.tiny, Path(folder))
        for section, steps, share in SECTIONS:
            results.run(section, steps(material), share)
    results.print()
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
