"""`python -m bench` is `tunefront`."""

from bench.cli import main

main()
