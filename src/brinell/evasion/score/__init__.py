"""Attacks that see scores only."""
