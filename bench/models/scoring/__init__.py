"""How a language model chooses: from the log-probabilities of its choices' tokens to one score a choice."""
