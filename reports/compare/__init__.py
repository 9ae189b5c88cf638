"""From records to groups that may be compared: aliases, filters, checks, statistics, measures."""
