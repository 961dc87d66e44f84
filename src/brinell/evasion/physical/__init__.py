"""Perturbations that are made of something: a patch, a frame, a sticker."""
