"""HopSkipJump: to the boundary, an estimate of its normal, a step along it, and again; from labels alone.

Source: Chen et al. 2020, arXiv:1904.02144, algorithm 2.
"""

from dataclasses import dataclass
from math import prod, sqrt
from typing import ClassVar, final

from brinell.arguments import Count
from brinell.evasion.attack import Attack
from brinell.evasion.decision.search import COARSE, approach, fine, leap, on_boundary
from brinell.evasion.decision.slope import slope
from brinell.evasion.decision.start import Start
from brinell.evasion.hunt import Hunt
from brinell.threat import Access


@final
@dataclass(frozen=True)
class HopSkipJump(Attack):
    """HopSkipJump (Chen et al. 2020), for any set: steps follow its steepest direction, searches its distance.

    queries: per example, the start's included. probes: decisions of the first estimate of the normal
    (B_0); the t-th has sqrt(t) times as many. start: where it begins. For linf the authors draw probes from a cube;
    here it is a sphere for every set. How fine the searches are says `search.fine`.
    """

    queries: Count = 25_000
    probes: Count = 100
    start: Start = Start()
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        features = prod(hunt.x0.shape[1:])
        at = on_boundary(hunt, self.start, self.queries, COARSE)
        approach(hunt, at, fine(hunt, at))
        step = 0

        while len(hunt):
            step += 1
            distance = hunt.set.distance(hunt.x0, at.x)
            radius = 0.1 * distance if step == 1 else distance / features
            normal = slope(hunt, at, radius, round(self.probes * sqrt(step)))
            length = hunt.set.distance(hunt.x0, at.x) / sqrt(step)
            leap(hunt, at, hunt.set.steepest(normal), length)
            approach(hunt, at, fine(hunt, at))
