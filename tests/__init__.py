"""Tests, in the same folders as the code that they test."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The top folder of the checkout of these tests."""
SHARED = ROOT.parent / "shared"
"""Data and cases that may be next to a checkout; tests that need them are skipped without them."""
