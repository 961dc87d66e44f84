"""A smoothed classifier: the vote of another over noise added to the input (Cohen et al. 2019, arXiv:1902.02918)."""

import hashlib
from collections.abc import Iterable
from typing import final

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.targets.backend import Backend
from brinell.targets.noise import NoiseDistribution
from brinell.targets.target import Target
from brinell.threat import Access
from brinell.types import Inputs, Logits

Counts = Int64[Tensor, "batch classes"]

BLOCK = 16
"""Draws a pass. Fixed, so that the noise does not depend on how many examples are asked about."""


@final
class Smoothed(Backend):
    """The vote of `votes` draws, always the same ones: equal inputs get equal answers, alone or in a batch.

    Certificates are about the vote of all noise there is, which this one approaches. Noise is added in the user's
    units, before the base target normalises, and is not clipped to the box.
    """

    access = Access.SCORES

    def __init__(self, base: Target, noise: NoiseDistribution, votes: int, seed: int) -> None:
        if votes < 1:
            raise UsageError(f"votes is {votes}; it must be at least 1")
        self.base = base
        self.noise = noise
        self.votes = votes
        self.seed = seed
        self.classes = base.classes
        self._count: int | None = None if base.classes is None else len(base.classes)

    def scores(self, x: Inputs) -> Logits:
        """The share of the votes that each class gets."""
        rng = torch.Generator(x.device).manual_seed(self.seed)
        sizes = [BLOCK] * (self.votes // BLOCK) + [self.votes % BLOCK] * (self.votes % BLOCK > 0)
        counts = tally(self.base, x, (self.noise.draw((1, size, *x.shape[1:]), x, rng) for size in sizes))
        if self._count is None:
            self._count = self.base.scores(x[:1]).shape[1]
        return functional.pad(counts, (0, self._count - counts.shape[1])).to(x.dtype) / self.votes

    def digest(self) -> str:
        about = f"smoothed {self.base.digest} {self.noise} {self.votes} {self.seed}"
        return hashlib.sha256(about.encode()).hexdigest()

    def describe(self) -> str:
        return f"{self.base.describe()}, smoothed by {self.noise}, {self.votes} votes"

    def copy(self) -> "Smoothed":
        return Smoothed(self.base.copy(), self.noise, self.votes, self.seed)


def smoothed(target: Target, noise: NoiseDistribution, votes: int = 1000, seed: int = 0) -> Target:
    """The target's vote over noise, as a target of its own, which shows scores: shares of the votes.

    A row asked of it is `votes` rows asked of the base target.
    """
    return Target(Smoothed(target, noise, votes, seed), target.box)


def tally(base: Target, x: Inputs, blocks: Iterable[Tensor]) -> Counts:
    """How often each class is the answer to x plus noise: up to the largest class seen.

    blocks: noise (batch, draws, *shape), or (1, draws, *shape) for all examples alike.
    """
    counts = torch.zeros(len(x), 0, dtype=torch.int64, device=x.device)
    for noise in blocks:
        labels = base.labels((x.unsqueeze(1) + noise).flatten(0, 1)).reshape(len(x), -1)
        more = int(labels.max()) + 1 - counts.shape[1] if labels.numel() else 0
        counts = functional.pad(counts, (0, max(0, more)))
        counts = counts.scatter_add(1, labels, torch.ones_like(labels))
    return counts
