"""The classes that targeted runs aim at in turn, where the goal names none."""

from collections.abc import Iterator

import torch

from brinell.evasion.hunt import Hunt
from brinell.types import Labels, Logits


def rival(scores: Logits, y: Labels, rank: int) -> Labels:
    """The wrong class that scores highest (rank 0), second highest, ..."""
    wrong = scores.scatter(1, y.unsqueeze(1), -torch.inf)
    return wrong.argsort(dim=1, descending=True, stable=True)[:, rank]


def runs(hunt: Hunt, restarts: int, targets: int | None) -> Iterator[int]:
    """The restart that each run of an attack belongs to, 0 to restarts - 1, with the hunt back at x0 and aimed for it.

    targets: None for one run a restart, away from the label; k for k runs, aimed in turn at the k wrong classes that
    score highest at x0 (at most as many as there are). Under a goal with an aim of its own every run heads there.
    """
    aimed = 0
    if targets is not None and hunt.goal_aims is None and hunt.clean is not None:
        aimed = min(targets, hunt.clean.shape[1] - 1)
    for run in hunt.steps(restarts * max(1, aimed)):
        hunt.begin()
        if aimed and hunt.clean is not None:
            hunt.aim = rival(hunt.clean, hunt.y, run % aimed)
        yield run // max(1, aimed)
