"""Other suites, side by side with this one: `tox -e peers` installs them and prints how many times they take."""
