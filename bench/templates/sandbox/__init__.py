"""Jinja for templates that nobody has vouched for: what they may do is listed, what they may use is counted."""
