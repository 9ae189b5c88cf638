"""What a model is, which methods run on it, and a record of sites for an architecture that has none."""
