"""`python -m tunefront` is `tunefront`."""

from tunefront.bench.cli.entry import main

if __name__ == "__main__":
    main()
