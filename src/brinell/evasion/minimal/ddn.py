"""DDN: the direction follows the gradient, the length follows success.

Source: Rony, Hafemann, Oliveira, Ben Ayed, Sabourin & Granger 2018, arXiv:1811.09600, algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Fraction, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.minimal.final_search import final_search
from brinell.evasion.minimal.linear import linear_distance
from brinell.evasion.minimal.nearest import NearestAdversarial
from brinell.evasion.minimal.schedule import cosine
from brinell.evasion.objective import cross_entropy, margin
from brinell.threat import Access
from brinell.threat.sets import over_features

NEAR = 8.0
"""Boundaries nearer than the width of the box over this are walked to by shorter steps: a hundred would not come down
to them."""

SEARCH = 3
"""Forward rows of a last search between x0 and the nearest point found: an addition to the paper."""


@final
@dataclass(frozen=True)
class DDN(Attack):
    """Decoupled direction and norm (Rony et al. 2018).

    steps: gradients. step: length of the first move, the paper's alpha; it falls to a hundredth along a cosine.
    radius: the first distance tried; both in widths of the box, or where that is less in NEAR times the distance at
    which a linear model puts the boundary (one gradient more). factor: the paper's gamma, the share by which the
    distance falls after a hit and grows after a miss. objective: what the second half of the steps maximises; far: what
    the first does.

    Three deviations from the paper. Points are not rounded to 256 levels. The walk begins on cross-entropy, as in the
    paper, and ends on the margin: the first weighs near rivals together and ends beside the nearest; the second alone
    goes astray before it meets the boundary where gradients vanish and turn about. Last, three queries seek the
    crossing between x0 and the nearest point.
    """

    steps: Count = 100
    step: Positive = 1.0
    radius: Positive = 1.0
    factor: Fraction = 0.05
    objective: Objective = margin
    far: Objective = cross_entropy
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        lead, g = hunt.gradient(margin)
        slope = (g * hunt.set.steepest(g)).flatten(1).sum(1)
        size = (NEAR * linear_distance(-lead, slope, hunt.set.box)).clamp(max=1)
        # radius: the distance tried next. size: of the first step, in its own length.
        ring = hunt.carry(radius=self.radius * size.double(), size=size)
        nearest = NearestAdversarial(hunt)

        for k in hunt.steps(self.steps):
            _, g = hunt.gradient(self.far if 2 * k < self.steps else self.objective)
            nearest.note(hunt)
            if k:
                ring.radius = ring.radius * torch.where(hunt.hit, 1 - self.factor, 1 + self.factor)
            step = cosine(k, self.steps, self.step, self.step / 100) * ring.size
            x = hunt.x + (over_features(step, g) * hunt.set.steepest(g)).to(hunt.x.dtype)
            length = hunt.set.distance(hunt.x0, x)
            scale = torch.where(length > 0, ring.radius / length, 1.0).to(x.dtype)
            hunt.move_in_box(torch.lerp(hunt.x0, x, over_features(scale, x)))

        final_search(hunt, SEARCH, nearest)
