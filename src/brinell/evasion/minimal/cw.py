"""C&W, the l2 attack: the squared length against the margin, weighed by a constant that is searched for.

Source: Carlini and Wagner 2017, arXiv:1608.04644, section VI.A.
"""

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, final

import torch

from brinell.arguments import AtLeast, Count, NonNegative, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.constant import Constant
from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.hinge import Hinge
from brinell.evasion.minimal.linear import linear_constant, linear_distance
from brinell.evasion.minimal.projected_adam import ProjectedAdam
from brinell.evasion.minimal.schedule import cosine
from brinell.threat import Access
from brinell.threat.sets import over_features


@final
@dataclass(frozen=True)
class CW(Attack):
    """Carlini and Wagner's l2 attack.

    searches: constants tried for each example, by bisection. steps: gradients a search. step: Adam's, as a share of
    the distance at which a linear model puts the boundary, spread evenly over the features; it falls to a hundredth
    along a cosine over all searches. confidence: the margin that a witness must have (kappa).

    The paper runs 9 searches of 10,000 steps, each from x0. Here a search is short, as it goes on from where the last
    one ended and the first constant is the one that would do if the model were linear. Of the paper's three ways to
    keep to the box (section V.B) this is projection: its tanh has all but no slope at the ends, where most of a
    digit's values lie.
    """

    searches: Count = 9
    steps: Annotated[int, AtLeast(2)] = 50
    step: Positive = 0.3
    confidence: NonNegative = 0.0
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        hinge = Hinge(self.confidence)
        hunt.require_margin(self.confidence)
        hunt.begin()
        lead, g = hunt.gradient(hinge)
        missing = hunt.required_margin - lead
        features = prod(g.shape[1:])
        length = linear_distance(missing, g.flatten(1).norm(dim=1), hunt.set.box) * self.step / features**0.5
        # The length of each example's steps, and whether it has met the goal at all; until it has they grow.
        search = hunt.carry(length=length, met=torch.zeros_like(hunt.hit))
        constant = hunt.carry(Constant.begun(linear_constant(missing, g)))
        optimiser = ProjectedAdam(hunt)
        total = self.searches * self.steps

        for k in hunt.steps(total):
            hunt.move_in_box(optimiser.x)
            _, g = hunt.gradient(hinge)
            search.met = search.met | hunt.hit
            # A search goes on from the last one's end, so only what holds in its second half is its own doing.
            constant.note(hunt.hit & (2 * (k % self.steps) >= self.steps))
            uphill = over_features(constant.value, g) * g - 2 * (hunt.x - hunt.x0)
            optimiser.step(uphill, cosine(k, total, 1, 0.01) * search.length)
            if (k + 1) % self.steps == 0:
                constant.bisect()
                # What Adam has seen under a larger constant would hold it back under this one.
                optimiser.begin(optimiser.x)
                search.length = torch.where(search.met, search.length, 2 * search.length)
