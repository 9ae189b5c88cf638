"""Prompt templates: what a language model reads for a row of a task, and the answers that it ranks."""
