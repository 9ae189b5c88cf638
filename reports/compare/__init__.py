"""Groups records that may be compared: aliases, filters, checks, statistics, measures."""
