"""FMN: gradient ascent in a ball that is resized about the decision boundary.

Source: Pintor, Roli, Brendel & Biggio 2021, arXiv:2102.12827, algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Fraction, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.minimal.final_search import final_search
from brinell.evasion.minimal.nearest import NearestAdversarial
from brinell.evasion.minimal.schedule import cosine
from brinell.evasion.objective import margin
from brinell.evasion.rival import runs
from brinell.threat import Access
from brinell.types import Inputs, Mask, Scores

SEARCH = 3
"""Forward rows of a last search between x0 and the nearest point found: an addition to the paper."""


@final
@dataclass(frozen=True)
class FMN(Attack):
    """Fast minimum norm (Pintor et al. 2021), for l0, l1, l2 and linf.

    steps: gradients a run. targets: None for one run, away from the label; k for k runs, aimed in turn at the k wrong
    classes that score highest at x0, each in a ball no larger than what the last one came down to. step: the paper's
    alpha, the length of the first move as a share of the ball's radius; it falls to a hundredth along a cosine. factor:
    the paper's gamma, the share by which the radius falls after a hit and grows after a miss; it falls from the first
    number to the second, after the first hit.

    Four deviations from the paper. It clips to the box after its projection, so values on the edge of the box use up
    the radius and the search can stand still: here the projection is onto ball ∩ box, and the parts of a gradient that
    lead out of the box are left out. Its moves have an l2 length of one at first, whatever the norm and the radius, and
    until the first hit its ball ends where a linear model at the last point puts the boundary; where gradients vanish
    and turn about, that is most of the box, and the ascent goes astray in it. Here a move is the steepest of the set
    and as long as the ball is wide (under l1 and l0 it is shared among as many values as the radius has room for),
    and the ball grows from where a linear model at x0 puts the boundary. In l0 the paper's radius moves by whole
    features: here it is a number, of which the whole part counts. Last, three queries seek the crossing between
    x0 and the nearest point.
    """

    steps: Count = 100
    targets: Count | None = None
    step: Positive = 1.0
    factor: tuple[Fraction, Fraction] = (0.05, 0.001)
    objective: Objective = margin
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        nearest = NearestAdversarial(hunt)
        for _ in runs(hunt, 1, self.targets):
            self._search(hunt, nearest)
        final_search(hunt, SEARCH, nearest)

    def _search(self, hunt: Hunt, nearest: NearestAdversarial) -> None:
        """One run: from x0, in a ball that is no larger than what earlier runs came down to."""
        reach = nearest.reach(hunt)
        ball = hunt.carry(_Ball(reach, reach.isfinite()))

        for k in hunt.steps(self.steps):
            value, g = hunt.gradient(self.objective)
            nearest.note(hunt)
            g = hunt.set.box.inward(hunt.x, g)
            if k == 0:
                ball.radius = torch.where(ball.found, ball.radius, _to_boundary(hunt, value, g))
            ball.resize(hunt.hit, nearest.reach(hunt), cosine(k, self.steps, *self.factor), max(self.factor))
            step = cosine(k, self.steps, self.step, self.step / 100) * hunt.set.stride(g, ball.radius)
            hunt.move_in_box(hunt.set.project_each(hunt.x0, hunt.x + step, ball.radius))

        nearest.note_last(hunt)


@dataclass
class _Ball:
    """The radius of each example's ball, and whether the boundary has been found."""

    radius: Scores
    found: Mask

    def resize(self, hit: Mask, reach: Scores, share: float, most: float) -> None:
        """Less after a hit and more after a miss, by this share; by the most until the first hit."""
        self.found = self.found | hit
        grown = self.radius * torch.where(self.found, 1 + share, 1 + most)
        self.radius = torch.where(hit, torch.minimum((1 - share) * self.radius, reach), grown)


def _to_boundary(hunt: Hunt, value: Scores, g: Inputs) -> Scores:
    """How far from x0 the boundary is, by a linear model of the objective there; at most as far as the box goes."""
    low, high = hunt.set.box.limits(hunt.x0)
    corner = torch.where(high - hunt.x0 > hunt.x0 - low, high, low).expand_as(hunt.x0)
    farthest = hunt.set.distance(hunt.x0, hunt.set.valid(hunt.x0, corner)) if hunt.set.box.bounded else torch.inf
    return torch.minimum(hunt.set.forecast(hunt.x0, g, -value), torch.as_tensor(farthest, dtype=torch.float64))
