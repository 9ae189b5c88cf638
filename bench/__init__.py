"""Runs and measures ways of adapting a pretrained model; `tunefront` itself names what is public of it."""

if __name__ != "tunefront.bench":  # a second copy under a bare name would know other cells, records and methods
    raise ImportError(f"this package is tunefront.bench, not {__name__}: write `import tunefront.bench`.")
