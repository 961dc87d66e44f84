"""Attacks that follow the gradient within a set."""
