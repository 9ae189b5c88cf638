"""How a language model ranks choices: from token log-probabilities to one score per choice."""
