"""The classes that targeted runs aim at in turn, where the goal names none."""

import torch

from brinell.types import Labels, Logits


def rival(scores: Logits, y: Labels, rank: int) -> Labels:
    """The wrong class that scores highest (rank 0), second highest, ..."""
    wrong = scores.scatter(1, y.unsqueeze(1), -torch.inf)
    return wrong.argsort(dim=1, descending=True, stable=True)[:, rank]
