"""OPT: the direction in which the boundary is nearest, by zeroth-order descent on its distance, from labels alone.

Source: Cheng et al. 2019, arXiv:1807.04457: the distance g along a direction, and its descent by an estimate of its
gradient from differences along random directions.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.decision.ray import beside, follow, measure, turn
from brinell.evasion.decision.start import Start, directions
from brinell.evasion.hunt import Hunt
from brinell.threat import Access


@final
@dataclass(frozen=True)
class OPT(Attack):
    """Distance descent over directions (Cheng et al. 2019); it minimises the l2 distance.

    queries: per example, the start's included. probes: directions of each estimate, each of which takes a
    binary search (q; the authors' code has 10). smoothing: how far apart two directions compared are (beta; theirs is
    0.001); lengths are searched to a thousandth of it. The authors try one step length after another; here all are
    compared at once.
    """

    queries: Count = 20_000
    probes: Count = 20
    smoothing: Positive = 0.005
    start: Start = Start()
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        tolerance = self.smoothing / 1000
        ray = follow(hunt, self.start, self.queries, tolerance)
        while len(hunt):
            with hunt.carrying(u=directions(hunt, self.probes)) as probes:
                near = beside(ray, self.smoothing * probes.u)
                guess = ray.length.unsqueeze(1).expand(-1, self.probes)
                lengths = measure(hunt, near, guess, 2 * ray.length, tolerance)
                excess = lengths.clamp(max=2 * ray.length.unsqueeze(1)) - ray.length.unsqueeze(1)
                downhill = -torch.einsum("bk,bk...->b...", excess.to(probes.u.dtype), probes.u)
            turn(hunt, ray, downhill, tolerance)
