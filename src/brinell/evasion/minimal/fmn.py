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
from brinell.evasion.rival import runs
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores


@final
@dataclass(frozen=True)
class FMN(Attack):
    """Fast minimum norm (Pintor et al. 2021), for l0, l1, l2 and linf.

    steps: gradients a run. targets: None for one run, away from the label; k for k runs, aimed in turn at the k wrong
    classes that score highest at x0, each in a ball no larger than what the last one came down to. step: the paper's
    alpha, the most that the first move changes any value by, in input units; it falls to a hundredth along a cosine.
    factor: the paper's gamma, the share by which the radius falls after a hit and grows after a miss; it falls from
    the first number to the second. Until the first hit the radius is a little beyond where a linear model puts the
    boundary, which rounding would miss.

    Three deviations from the paper. It clips to the box after its projection, so values on the edge of the box use up
    the radius and the search can stand still: here the projection is onto ball ∩ box, the linear model keeps to the
    box, and the parts of a gradient that lead out of it are left out. It scales gradients to l2 length one: here the
    largest part is one, whatever the number of values. In l0 its radius moves by whole features: here it is a number,
    of which the whole part counts.
    """

    steps: int = 100
    targets: int | None = None
    step: float = 1.0
    factor: tuple[float, float] = (0.05, 0.001)
    objective: Objective = margin
    needs: ClassVar[Access] = Access.GRADIENTS

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.step > 0:
            raise UsageError(f"steps is {self.steps} and step {self.step}; steps must be at least 1 and step > 0")
        if self.targets is not None and self.targets < 1:
            raise UsageError(f"targets is {self.targets}; it must be at least 1, or None to aim at no class")
        if not all(0 < share < 1 for share in self.factor):
            raise UsageError(f"factor is {self.factor}; both numbers must lie between 0 and 1")

    def __call__(self, hunt: Hunt) -> None:
        for _ in runs(hunt, 1, self.targets):
            self._search(hunt)

    def _search(self, hunt: Hunt) -> None:
        """One run: from x0, in a ball that is no larger than what earlier runs came down to."""
        ball = hunt.carry(_Ball(hunt.reach, hunt.reach.isfinite()))
        for k in hunt.steps(self.steps):
            value, g = hunt.gradient(self.objective)
            g = hunt.set.box.inward(hunt.x, g)
            share = cosine(k, self.steps, *self.factor)
            ball.found = ball.found | hunt.hit
            grown = (1 + share) * torch.where(ball.found, ball.radius, _to_boundary(hunt, value, g))
            ball.radius = torch.where(hunt.hit, torch.minimum((1 - share) * ball.radius, hunt.reach), grown)
            x = hunt.x + cosine(k, self.steps, self.step, self.step / 100) * _scaled(g)
            hunt.move(hunt.set.project_each(hunt.x0, x, ball.radius))


@dataclass
class _Ball:
    """The radius of each example's ball, and whether the boundary has been found."""

    radius: Scores
    found: Mask


def _to_boundary(hunt: Hunt, value: Scores, g: Inputs) -> Scores:
    """How far from x0 the boundary is at most, by a linear model of the objective at x."""
    onward = hunt.set.toward_plane(hunt.x, g, -value)
    return hunt.set.distance(hunt.x0, hunt.x) + hunt.set.distance(hunt.x, onward)


def _scaled(g: Inputs) -> Inputs:
    """g with its largest part at one."""
    return g / over_features(g.abs().flatten(1).amax(1).clamp(min=torch.finfo(g.dtype).tiny), g)
