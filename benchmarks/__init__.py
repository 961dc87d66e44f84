"""Figures that Brinell claims, each with the command that measures it again: `python -m benchmarks [NAME ...]`."""
