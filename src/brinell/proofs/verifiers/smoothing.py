"""Randomised smoothing: certificates for the majority vote of a classifier over noise, from a sample of votes.

Source: Cohen et al. 2019, arXiv:1902.02918, the algorithms CERTIFY and PREDICT. Such a certificate is
wrong with a probability of at most alpha, which the caller chooses, and so has another type than a proof.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy.stats import binomtest
from torch import Tensor

from brinell.errors import UsageError
from brinell.evidence import at_least
from brinell.proofs.query.verifier import Checkpoint, nothing
from brinell.targets import NoiseDistribution, Smoothed, Target, tally
from brinell.types import Inputs, Labels, Mask, Scores

ABSTAIN = -1
"""The label of an example for which nothing is certified."""

FUTILE = 1e-3
"""The chance of giving up an example whose share would have sufficed: it costs certificates, not their validity."""


@final
@dataclass(frozen=True, eq=False)
class Voted:
    """Certificates: within the radius of an example, the vote over all noise is for its label.

    labels: ABSTAIN where nothing is certified. share: a lower confidence bound on the label's share of the vote.
    radius: in the norm that the noise is for; 0 where nothing is certified. draws: of noise that were counted. alpha:
    the probability, at most, that the certificate of one example is wrong.
    """

    labels: Labels
    share: Float64[Tensor, " batch"]
    radius: Float64[Tensor, " batch"]
    draws: Int64[Tensor, " batch"]
    alpha: float

    @property
    def certified(self) -> Mask:
        return self.labels != ABSTAIN

    @property
    def failure(self) -> float:
        """The probability, at most, that any of these certificates is wrong: a union bound over all examples asked."""
        return min(1.0, len(self.labels) * self.alpha)


@final
@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """CERTIFY and PREDICT, for targets made by `smoothed`.

    draws: of noise an example, at most. select: draws that choose the class, apart from those that count for it.
    alpha: the probability, at most, that a certificate is wrong, for each example; see `together`. looks: interim looks
    at the count, each at a quarter of the draws of the next, so as to stop early. rows: queries of the base target at
    one time, about. Raises UsageError for values out of range, or draws too few for any certificate at this alpha.
    """

    draws: int = 100_000
    select: int = 100
    alpha: float = 0.001
    looks: int = 4
    rows: int = 4096

    def __post_init__(self) -> None:
        for name in ("draws", "select", "looks", "rows"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha is {self.alpha}; it must lie between 0 and 1")
        needed = math.floor(math.log(self.alpha) / math.log(0.5)) + 1
        if self.draws < needed:
            raise UsageError(
                f"draws is {self.draws}; even if all agree they show no majority at alpha {self.alpha:g}: "
                f"give at least {needed}"
            )

    def together(self, examples: int) -> "Smoothing":
        """The same with alpha for the certificates of so many examples together: each gets an equal part."""
        return replace(self, alpha=self.alpha / max(1, examples))

    def certify(
        self,
        target: Target,
        x: Inputs,
        rng: torch.Generator,
        need: Scores | None = None,
        checkpoint: Checkpoint = nothing,
    ) -> Voted:
        """The radius within which the vote over the noise is the same, for each example.

        need: the radius each example is asked about, in the noise's norm; it is done once that is certified. Every look
        may then decide, and gets an equal part of alpha, so that the bounds of all looks hold together. Without it the
        last look alone decides, on all draws, and has all of alpha. An example that will hardly reach its need is given
        up at any look, which costs no part of alpha.
        """
        base, noise = _parts(target)
        last = self.looks - 1
        ends = [max(1, self.draws // 4 ** (last - look)) for look in range(self.looks)]
        parts = [
            self.alpha / self.looks if need is not None else self.alpha * (look == last) for look in range(self.looks)
        ]
        wanted = np.full(len(x), 0.5) if need is None else np.maximum(noise.share(need.double().cpu().numpy()), 0.5)
        leader = (
            self._count(base, noise, x, self.select, rng, checkpoint).argmax(1) if len(x) else x.new_zeros(0).long()
        )
        share = np.zeros(len(x))
        hits = np.zeros(len(x), np.int64)
        asked = np.zeros(len(x), np.int64)
        standing = np.flatnonzero(wanted < max(parts) ** (1 / self.draws))  # beyond what all draws together may show
        seen = 0
        for end, alpha in zip(ends, parts, strict=True):
            if not len(standing) or end == seen:
                continue
            counts = self._count(base, noise, x[standing], end - seen, rng, checkpoint)
            hits[standing] += _of(counts, leader[standing])
            asked[standing] = seen = end
            if alpha:
                share[standing] = np.maximum(share[standing], at_least(hits[standing], end, alpha))

            # Keep the examples that may still reach their need and have not yet.
            most = 1 - at_least(end - hits[standing], end, FUTILE)
            shown = (share[standing] > wanted[standing]) & (need is not None)
            standing = standing[(most > wanted[standing]) & ~shown]

        shares = torch.from_numpy(share).to(x.device)
        return Voted(
            leader.masked_fill(shares <= 0.5, ABSTAIN),
            shares,
            torch.from_numpy(noise.radius(share)).to(x.device),
            torch.from_numpy(asked).to(x.device),
            self.alpha,
        )

    def predict(self, target: Target, x: Inputs, rng: torch.Generator) -> Labels:
        """The class of the vote over all noise, or ABSTAIN; each is wrong with probability at most alpha."""
        base, noise = _parts(target)
        counts = self._count(base, noise, x, self.draws, rng, nothing)
        first, second = torch.nn.functional.pad(counts, (0, 1)).topk(2, 1).values.unbind(1)
        sure = [binomtest(int(a), int(a + b), 0.5).pvalue <= self.alpha for a, b in zip(first, second, strict=True)]
        return counts.argmax(1).where(torch.tensor(sure, dtype=torch.bool, device=x.device), ABSTAIN)

    def _count(
        self,
        base: Target,
        noise: NoiseDistribution,
        x: Inputs,
        draws: int,
        rng: torch.Generator,
        checkpoint: Checkpoint,
    ) -> Int64[Tensor, "batch classes"]:
        """The votes for each class, in blocks of draws."""
        each = max(1, self.rows // max(1, len(x)))

        def blocks() -> Iterator[Tensor]:
            for start in range(0, draws, each):
                checkpoint()
                yield noise.draw((len(x), min(each, draws - start), *x.shape[1:]), x, rng)

        return tally(base, x, blocks())


def _parts(target: Target) -> tuple[Target, NoiseDistribution]:
    if not isinstance(target.backend, Smoothed):
        raise UsageError("Smoothing speaks of votes over noise; give a target made by brinell.targets.smoothed")
    return target.backend.base, target.backend.noise


def _of(counts: Int64[Tensor, "batch classes"], labels: Labels) -> np.ndarray:
    """The votes for one class each; 0 for a class that got none anywhere."""
    padded = torch.nn.functional.pad(counts, (0, max(0, int(labels.max()) + 1 - counts.shape[1])))
    return padded.gather(1, labels.unsqueeze(1)).squeeze(1).cpu().numpy()
