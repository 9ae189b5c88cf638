"""Inputs that a person could give by mistake or in malice, made by chance; see `tests.fuzz.test_fuzz`."""
