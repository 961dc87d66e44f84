"""Scores as probabilities."""

import torch

from brinell.types import Logits

_NEAR = 1e-2
"""How far sums of probabilities may be from one, as those of half precision are."""


def probabilities(scores: Logits) -> Logits:
    """The scores themselves, normalised, where all rows are probabilities already; else their softmax."""
    return log_probabilities(scores).exp()


def log_probabilities(scores: Logits) -> Logits:
    """The logarithms of the same; of a probability of zero that of the least positive number."""
    known = scores[scores.isfinite().all(1)]
    sums = known.sum(1)
    if len(known) and bool((known >= -1e-6).all() and ((sums - 1).abs() < _NEAR).all()):
        least = torch.finfo(scores.dtype).tiny
        return (scores.clamp(min=0) / scores.clamp(min=0).sum(1, keepdim=True)).clamp(min=least).log()
    return scores.log_softmax(1)
