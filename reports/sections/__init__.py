"""The sections of a report, in words and tables."""
