"""`python -m tunefront` is `tunefront`."""

from tunefront.bench.cli.main import main

if __name__ == "__main__":
    main()
