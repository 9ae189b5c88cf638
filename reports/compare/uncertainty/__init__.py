"""How sure a comparison of methods is: variances over runs and rows, intervals, ties, and what more data would show."""
