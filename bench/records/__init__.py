"""What is kept of a cell. Torch-free, so that reports can read it anywhere."""

from tunefront.bench.records.io import (
    CorruptRecord,
    Loaded,
    OtherCell,
    OtherVersion,
    load,
    load_plans,
    load_records,
    parse_record,
    read_record,
    set_aside,
)
from tunefront.bench.records.ordinary import Unreadable
from tunefront.bench.records.record import (
    DETERMINISTIC,
    FLOP_PHASES,
    MEMORY_PHASES,
    OWNERS,
    ROUNDING,
    SCHEMA_VERSION,
    STEP_PHASES,
    PhaseFlops,
    Record,
    Scalar,
    Spread,
)

__all__ = [
    "DETERMINISTIC",
    "FLOP_PHASES",
    "MEMORY_PHASES",
    "OWNERS",
    "ROUNDING",
    "SCHEMA_VERSION",
    "STEP_PHASES",
    "CorruptRecord",
    "Loaded",
    "OtherCell",
    "OtherVersion",
    "PhaseFlops",
    "Record",
    "Scalar",
    "Spread",
    "Unreadable",
    "load",
    "load_plans",
    "load_records",
    "parse_record",
    "read_record",
    "set_aside",
]
