"""Tests, in the rooms of what they test."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The top of the checkout that these tests stand in."""
SHARED = ROOT.parent / "shared"
"""Data and cases that may lie beside a checkout; tests that need them skip where they do not."""
