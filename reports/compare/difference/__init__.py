"""What changed between two sets of results, method by method: scores with intervals, costs, and what is missing."""
