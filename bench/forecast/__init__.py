"""Predicts the costs of adaptation from configurations, without weights."""
