"""Attacks that seek the smallest perturbation."""
