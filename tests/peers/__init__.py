"""Other suites, side by side with this one: `tox -e peers` installs them, and prints what they compute and what it
takes."""
