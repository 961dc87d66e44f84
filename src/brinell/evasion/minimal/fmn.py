"""FMN: ascend in a ball that is resized about the decision boundary.

Source: Pintor, Roli, Brendel & Biggio 2021, arXiv:2102.12827, algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.minimal.schedule import cosine
from brinell.evasion.objective import margin
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class FMN(Attack):
    """Fast minimum norm (Pintor et al. 2021).

    steps: gradients. step: l2 length of the first move, the paper's alpha, falling to a hundredth along a cosine.
    factor: the paper's gamma, the share by which the radius falls after a hit and grows after a miss; it falls from
    the first number to the second. Until the first hit the radius is a little beyond where a linear model puts the
    boundary, which rounding would miss.

    The paper clips to the box after its projection, so values on the edge of the box use up the radius and the search
    can stand still. Here the projection is onto ball ∩ box, and the parts of a gradient that lead out of the box are
    left out.
    """

    steps: int = 100
    step: float = 1.0
    factor: tuple[float, float] = (0.05, 0.001)
    objective: Objective = margin
    needs: ClassVar[Access] = Access.GRADIENTS

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.step > 0:
            raise UsageError(f"steps is {self.steps} and step {self.step}; steps must be at least 1 and step > 0")
        if not all(0 < share < 1 for share in self.factor):
            raise UsageError(f"factor is {self.factor}; both numbers must lie between 0 and 1")

    def __call__(self, hunt: Hunt) -> None:
        ball = hunt.carry(_Ball(torch.full_like(hunt.reach, torch.inf)))
        for k in hunt.steps(self.steps):
            value, g = hunt.gradient(self.objective)
            g = hunt.set.box.inward(hunt.x, g)
            share = cosine(k, self.steps, *self.factor)
            boundary = hunt.set.distance(hunt.x0, hunt.x) + _to_boundary(hunt, value, g)
            grown = (1 + share) * torch.where(hunt.reach.isfinite(), ball.radius, boundary)
            ball.radius = torch.where(hunt.hit, torch.minimum(ball.radius * (1 - share), hunt.reach), grown)
            x = hunt.x + cosine(k, self.steps, self.step, self.step / 100) * _unit(g)
            hunt.move(hunt.set.project_each(hunt.x0, x, ball.radius))


@dataclass
class _Ball:
    radius: Scores


def _to_boundary(hunt: Hunt, value: Scores, g: Inputs) -> Scores:
    """How far a linear model puts the boundary: |objective| over the dual norm of its gradient."""
    slope = (g * hunt.set.steepest(g)).flatten(1).sum(1)
    return (value.abs() / slope.clamp(min=1e-12)).double()


def _unit(g: Inputs) -> Inputs:
    """g at l2 length one; scaled first, so that the squares of small gradients are not zero."""
    g = g / over_features(g.abs().flatten(1).amax(1).clamp(min=torch.finfo(g.dtype).tiny), g)
    return g / over_features(g.flatten(1).norm(dim=1).clamp(min=1e-12), g)
