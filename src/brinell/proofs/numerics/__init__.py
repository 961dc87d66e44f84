"""Rounding error, polytopes and small linear programmes."""
