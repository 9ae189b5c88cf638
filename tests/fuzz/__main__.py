"""`python -m tests.fuzz 2000`: so many inputs, spread over the kinds, with another seed each time."""

from __future__ import annotations

import os
import sys

KINDS = 6

if __name__ == "__main__":
    os.environ["TUNEFRONT_FUZZ_EXAMPLES"] = str(-(-int(sys.argv[1]) // KINDS))
    from tests.fuzz import test_fuzz

    wrong = 0
    parts = [test_fuzz.test_csv, test_fuzz.test_jsonl, test_fuzz.test_meta, test_fuzz.test_method]
    parts += [lambda kind=kind: test_fuzz.test_config(kind) for kind in ("encoder", "decoder")]
    for part in parts:
        try:
            part()
        except Exception:
            import traceback

            traceback.print_exc()
            wrong += 1
    for what, count in sorted(test_fuzz.seen.items()):
        print(f"{count:6} {what}")
    print(f"{sum(test_fuzz.seen.values()):6} inputs; {wrong} of {KINDS} kinds failed")
    sys.exit(1 if wrong else 0)
