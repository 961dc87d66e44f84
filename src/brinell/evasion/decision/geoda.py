"""GeoDA: the boundary taken for flat, its normal estimated from decisions, and x0 sent along the normal.

Source: Rahmati et al. 2020, arXiv:2003.06468, algorithm 1; the direction for a set is that in which the set reaches
farthest along the normal.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.decision.search import approach, fine, on_boundary
from brinell.evasion.decision.slope import slope
from brinell.evasion.decision.start import Point, Start, ask
from brinell.evasion.hunt import Hunt
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs


@final
@dataclass(frozen=True)
class GeoDA(Attack):
    """GeoDA (Rahmati et al. 2020), for any set that says what is steepest.

    queries: per example, the start's included. rounds: estimates of the normal, each at the boundary
    point that the last one led to, and added to those before; each has `growth` times the queries of the one before
    (lambda ** (-2/3), with lambda 0.6 in the authors' code). Probes are 1 / d of the distance away, as HopSkipJump's;
    the authors' code has a fixed deviation. Their subspace of low frequencies is left out: it presumes images.
    """

    queries: Count = 10_000
    rounds: Count = 10
    growth: Positive = 1.4
    start: Start = Start()
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        features = prod(hunt.x0.shape[1:])
        at = on_boundary(hunt, self.start, self.queries, 1e-4)
        most = int((hunt.left + hunt.queries[hunt.rows]).max()) if len(hunt) else 0  # the same for all
        shares = [self.growth**k for k in range(self.rounds)]
        # The sum of all estimates of the normal so far.
        held = hunt.carry(normal=torch.zeros_like(hunt.x0))
        k = 0

        while len(hunt):
            count = max(1, int(0.9 * most * shares[k] / sum(shares)))
            radius = hunt.set.distance(hunt.x0, at.x) / features
            fresh = slope(hunt, at, radius, count)
            held.normal = held.normal + fresh
            _along(hunt, at, hunt.set.steepest(held.normal))
            approach(hunt, at, fine(hunt, at))
            k = min(k + 1, self.rounds - 1)


def _along(hunt: Hunt, at: Point, direction: Inputs) -> None:
    """Move to where the direction leads from x0, as far away as the point is, if that is adversarial."""
    with hunt.carrying(_Way(direction)) as way:
        every = torch.ones((len(hunt), 1), dtype=torch.bool, device=at.x.device)
        hits = ask(hunt, way.end(hunt, at).unsqueeze(1), every).squeeze(1)
        at.x = torch.where(over_features(hits, at.x), hunt.set.box.clamp(way.end(hunt, at)), at.x)


@dataclass
class _Way:
    direction: Inputs

    def end(self, hunt: Hunt, at: Point) -> Inputs:
        length = hunt.set.distance(hunt.x0, at.x).to(at.x.dtype)
        return hunt.x0 + over_features(length, at.x) * self.direction
