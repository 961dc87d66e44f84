"""OPT: the direction in which the boundary is nearest, by zeroth-order descent on its distance, from labels alone.

Source: Cheng et al. 2019, arXiv:1807.04457: the distance g along a direction is algorithm 1, its descent algorithm 2
with the estimate of eq. 7.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.decision.ray import Lengths, Ray, measure, ray_to
from brinell.evasion.decision.search import on_boundary
from brinell.evasion.decision.start import Rows, Start, directions, unit
from brinell.evasion.hunt import Hunt
from brinell.threat import Access
from brinell.threat.sets import over_features

STEPS = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Step lengths tried at once, in units of the direction: the paper's backtracking from 0.2, up and down."""


@final
@dataclass(frozen=True)
class OPT(Attack):
    """Distance descent over directions (Cheng et al. 2019); it minimises the l2 distance.

    queries: forward rows an example, the start's included. probes: directions of each estimate (the paper's q).
    smoothing: how far apart two directions compared are, at first (its beta); it shrinks where no step helps.
    """

    queries: int = 20_000
    probes: int = 20
    smoothing: float = 0.005
    tolerance: float = 1e-4
    start: Start = Start()
    needs: ClassVar[Access] = Access.LABELS

    def __post_init__(self) -> None:
        if self.queries < 1 or self.probes < 1:
            raise UsageError(f"queries is {self.queries} and probes {self.probes}; both must be at least 1")

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        hunt.limit(self.queries)
        at = on_boundary(hunt, self.start, self.tolerance)
        ray = hunt.carry(ray_to(hunt, at.x))
        smoothing = self.smoothing
        while len(hunt):
            with hunt.carrying(_Probes(directions(hunt, self.probes))) as probes:
                near = beside(ray, smoothing * probes.u)
                guess = ray.length.unsqueeze(1).expand(-1, self.probes)
                lengths = measure(hunt, near, guess, 2 * ray.length, self.tolerance)
                rise = (lengths.clamp(max=2 * ray.length.unsqueeze(1)) - ray.length.unsqueeze(1)) / smoothing
                g = torch.einsum("bk,bk...->b...", rise.to(probes.u.dtype), probes.u)
            descend(hunt, ray, unit(g), self.tolerance)


def beside(ray: Ray, moves: Rows) -> Rows:
    """The directions of length one that these moves lead to."""
    moved = ray.direction.unsqueeze(1) + moves
    return unit(moved.flatten(0, 1)).reshape(moved.shape)


def descend(hunt: Hunt, ray: Ray, g: torch.Tensor, tolerance: float) -> None:
    """Turn the ray down g by the best of several steps, if it gets any shorter."""
    steps = torch.tensor(STEPS, dtype=g.dtype, device=g.device).reshape(1, -1, *(1,) * (g.dim() - 1))
    with hunt.carrying(_Probes(beside(ray, -steps * g.unsqueeze(1)))) as turned:
        guess: Lengths = ray.length.unsqueeze(1).expand(-1, len(STEPS))
        lengths = measure(hunt, turned.u, guess, ray.length, tolerance)
        best = lengths.min(1)
        chosen = turned.u[torch.arange(len(hunt), device=g.device), best.indices]
        shorter = best.values < ray.length
        ray.direction = torch.where(over_features(shorter, chosen), chosen, ray.direction)
        ray.length = torch.where(shorter, best.values, ray.length)


@dataclass
class _Probes:
    u: Rows
