"""Turns a suite file and the overrides of a call into cells; all mistakes are reported before anything runs."""
