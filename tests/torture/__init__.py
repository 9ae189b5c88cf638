"""What must never lose a cell, end in a traceback or hang, tried very often; see `tests.torture.__main__`."""
