"""Sigma-zero: descend on a smooth count of the changed features, and undo the small changes at each step.

Source: Cinà, Villani, Pintor, Schönherr, Biggio & Pelillo 2024, arXiv:2402.01879, algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count, NonNegative, Positive
from brinell.evasion.adam import Adam
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.minimal.schedule import cosine
from brinell.evasion.objective import margin
from brinell.threat import Access
from brinell.threat.sets import over_features


@final
@dataclass(frozen=True)
class SigmaZero(Attack):
    """Sigma-zero (Cinà et al. 2024), for l0.

    steps: gradients. step: length of Adam's first move (eta); it falls to a tenth along a cosine. smoothing: sigma, of
    the count sum of d^2 / (d^2 + sigma) over the changes d. threshold: the change below which a feature goes back (tau)
    to begin with. adjustment: how much the threshold grows after a hit and falls after a miss, as a share of the step
    (t). Changes are measured in sides of the box, or in input units where it has no end.
    """

    steps: Count = 1000
    step: Positive = 1.0
    smoothing: Positive = 1e-3
    threshold: NonNegative = 0.3
    adjustment: NonNegative = 0.01
    objective: Objective = margin
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        low, high = hunt.set.box.limits(hunt.x0)
        side = torch.where((high - low).isfinite(), high - low, 1.0)
        adam = hunt.carry(Adam.none(hunt.x))
        # Below which change a feature of each example goes back.
        cut = hunt.carry(threshold=hunt.x0.new_full((len(hunt),), self.threshold))

        for k in hunt.steps(self.steps):
            _, g = hunt.gradient(self.objective)
            change = (hunt.x - hunt.x0) / side
            count = 2 * self.smoothing * change / (change.square() + self.smoothing).square() / change.shape[1:].numel()
            uphill = torch.where(over_features(hunt.hit, g), 0, g * side) - count
            largest = uphill.abs().flatten(1).amax(1).clamp(min=torch.finfo(g.dtype).tiny ** 0.5)
            step = cosine(k, self.steps, self.step, self.step / 10)
            x = hunt.set.box.clamp(hunt.x + step * side * adam.step(uphill / over_features(largest, g)))
            way = self.adjustment * step
            cut.threshold = (cut.threshold + torch.where(hunt.hit, way, -way)).clamp(0, 1)
            kept = ((x - hunt.x0) / side).abs() >= over_features(cut.threshold, x)
            hunt.move_in_box(torch.where(kept, x, hunt.x0))
