"""Comparison with other suites: `tox -e peers` installs them and prints their results and costs next to ours."""
