"""Runs untrusted Jinja templates: an allow-list of operations, and counted limits."""
