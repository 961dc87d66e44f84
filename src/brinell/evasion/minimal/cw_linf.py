"""C&W, the linf attack: only what exceeds a threshold costs anything, and the threshold is lowered.

Source: Carlini and Wagner 2017, arXiv:1608.04644, section VI.C.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Fraction, NonNegative, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.hinge import Hinge
from brinell.evasion.minimal.linear import linear_distance
from brinell.evasion.minimal.projected_adam import ProjectedAdam
from brinell.evasion.minimal.schedule import cosine
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Mask, Scores

PULL = 0.1
"""The first constant times the mean slope of the margin. From 1 on an average feature would pay for its excess."""


@final
@dataclass(frozen=True)
class CWLinf(Attack):
    """Carlini and Wagner's linf attack.

    rounds: thresholds or constants tried for each example. steps: gradients a round. step: Adam's, as a share of the
    threshold, falling to a hundredth along a cosine over all rounds. factor: the most by which the threshold (tau)
    falls below the nearest witness. confidence: the margin that a witness must have (kappa).

    The paper starts with the whole box as threshold and the constant at 1e-5; here both begin where a linear model
    puts them. After a round without a nearer witness the constant is doubled, as in the paper, and the threshold rises
    half way back to the nearest witness, so that the search closes in on a distance and does not end within a tenth
    of it.
    """

    rounds: Count = 12
    steps: Count = 40
    step: Positive = 0.05
    factor: Fraction = 0.95
    confidence: NonNegative = 0.0
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        hinge = Hinge(self.confidence)
        hunt.require_margin(self.confidence)
        hunt.begin()
        lead, g = hunt.gradient(hinge)
        slopes = g.flatten(1).abs()
        distance = linear_distance(hunt.required_margin - lead, slopes.sum(1), hunt.set.box)
        search = hunt.carry(_Threshold.begun(distance, PULL / slopes.mean(1).clamp(min=torch.finfo(g.dtype).tiny)))
        optimiser = ProjectedAdam(hunt)
        total = self.rounds * self.steps

        for k in hunt.steps(total):
            hunt.move_in_box(optimiser.x)
            _, g = hunt.gradient(hinge)
            change = hunt.x - hunt.x0
            search.note(hunt.hit, change.abs().flatten(1).amax(1))
            excess = change.sign() * (change.abs() > over_features(search.value, change))
            uphill = over_features(search.constant, g) * g - excess
            optimiser.step(uphill, cosine(k, total, self.step, self.step / 100) * search.value)
            if (k + 1) % self.steps == 0:
                search.lower(self.factor)
                optimiser.begin(optimiser.x)


@dataclass
class _Threshold:
    """value: the threshold of each example. constant: the weight of its margin. low: a threshold at which nothing
    nearer was found. nearest: the distance of the nearest witness. nearer: whether it is of this round.
    """

    value: Scores
    constant: Scores
    low: Scores
    nearest: Scores
    nearer: Mask

    @classmethod
    def begun(cls, value: Scores, constant: Scores) -> "_Threshold":
        none = torch.zeros_like(value)
        return cls(value, constant, none, none + torch.inf, none > 0)

    def note(self, hits: Mask, distance: Scores) -> None:
        """A witness is known at this distance where `hits`."""
        nearer = hits & (distance < self.nearest)
        self.nearest = torch.where(nearer, distance, self.nearest)
        self.nearer = self.nearer | nearer

    def lower(self, factor: float) -> None:
        """The next threshold: below the nearest witness, twice as much where there is none."""
        self.low = torch.where(self.nearer, self.low.minimum(factor * self.nearest), self.value)
        self.constant = torch.where(self.nearer, self.constant, 2 * self.constant)
        below = torch.maximum(factor * self.nearest, (self.low + self.nearest) / 2)
        self.value = torch.where(self.nearest.isinf(), 2 * self.value, below)
        self.nearer = torch.zeros_like(self.nearer)
