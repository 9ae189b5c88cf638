"""Runs and measures ways of adapting a pretrained model; the package `tunefront` exports the public names."""

if __name__ != "tunefront.bench":  # a second copy would have its own classes
    raise ImportError(f"this package is tunefront.bench, not {__name__}: write `import tunefront.bench`.")
