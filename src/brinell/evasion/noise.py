"""Noise: random points of the set, from decisions alone. A floor that every other attack must clear.

What it breaks needs no adversary (Carlini et al. 2019, arXiv:1902.06705: "try brute-force search").
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt
from brinell.threat import Access


@final
@dataclass(frozen=True)
class Noise(Attack):
    """Random points of the set and, every second time, its extreme points in random directions.

    draws: points an example. The extreme points of linf are its corners.
    """

    draws: Count = 100
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        radius = finite_radius(self, hunt.set)
        hunt.begin()
        for draw in hunt.steps(self.draws):
            if draw % 2:
                hunt.sample()
            else:
                direction = torch.randn(hunt.x0.shape, dtype=hunt.x0.dtype, device=hunt.x0.device, generator=hunt.rng)
                hunt.move(hunt.x0 + radius * hunt.set.steepest(direction))
            hunt.query()
