"""Auto-PGD: projected gradient ascent that sets its own step, so that no step length has to be tuned.

Source: Croce & Hein 2020, arXiv:2003.01690, section 3 and algorithm 1; targeted runs, section 4.2.
`APGD(objective=dlr, targets=9)` is AutoAttack's APGD-T.
"""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar, final

import torch

from brinell.errors import UsageError
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import cross_entropy
from brinell.evasion.rival import rival
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores

MOMENTUM = 0.75
"""alpha in eq. 1: the share of the new step in a move; the rest is the last move."""

RHO = 0.75
"""rho in condition 1: the least share of steps between two checkpoints that must raise the objective."""


@final
@dataclass(frozen=True)
class APGD(Attack):
    """Auto-PGD (Croce & Hein 2020).

    steps: gradients a run. restarts: random starts, each on the examples that still stand. targets: None climbs
    away from the label; k makes each restart k runs, aimed in turn at the k wrong classes that score highest at x0
    (at most as many as there are). Under a goal with an aim of its own every run heads there.
    """

    steps: int = 100
    restarts: int = 1
    objective: Objective = cross_entropy
    targets: int | None = None
    needs: ClassVar[Access] = Access.GRADIENTS

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise UsageError(f"steps is {self.steps} and restarts {self.restarts}; both must be at least 1")
        if self.targets is not None and self.targets < 1:
            raise UsageError(f"targets is {self.targets}; it must be at least 1, or None to aim at no class")

    def __call__(self, hunt: Hunt) -> None:
        radius = finite_radius(self, hunt.set)
        aimed = 0
        if self.targets is not None and hunt.goal_aims is None and hunt.clean is not None:
            aimed = min(self.targets, hunt.clean.shape[1] - 1)
        for run in hunt.steps(self.restarts * max(1, aimed)):
            hunt.begin()
            if aimed and hunt.clean is not None:
                hunt.aim = rival(hunt.clean, hunt.y, run % aimed)
            self._climb(hunt, 2 * radius)

    def _climb(self, hunt: Hunt, step: float) -> None:
        checkpoints = _checkpoints(self.steps)
        hunt.sample()
        run = hunt.carry(_Climb.at(hunt.x, step))
        last = 0
        for k in hunt.steps(self.steps):
            value, g = hunt.gradient(self.objective)
            x = hunt.x
            run.note(x, g, value)
            if k in checkpoints:
                x, g = run.check(x, g, RHO * (k - last))
                last = k
            z = hunt.set.project(hunt.x0, x + over_features(run.step, x) * hunt.set.steepest(g))
            # Eq. 1. The first step has no last move; the last point is judged by the hunt without a gradient.
            hunt.move(z if k == 0 else torch.lerp(2 * x - run.previous, z, MOMENTUM))
            run.previous = x


@dataclass
class _Climb:
    """What one run remembers of each example."""

    previous: Inputs
    best: Inputs
    best_gradient: Inputs
    best_value: Scores
    value: Scores
    rises: Scores
    step: Scores
    checked_value: Scores
    halved: Mask

    @classmethod
    def at(cls, x: Inputs, step: float) -> "_Climb":
        # The value before the first is infinite, so that the first point does not count as a rise.
        worst, top = x.new_full((len(x),), -torch.inf), x.new_full((len(x),), torch.inf)
        return cls(
            previous=x,
            best=x.clone(),
            best_gradient=torch.zeros_like(x),
            best_value=worst,
            value=top,
            rises=torch.zeros_like(top),
            step=torch.full_like(top, step),
            checked_value=worst,
            halved=torch.zeros_like(top, dtype=torch.bool),
        )

    def note(self, x: Inputs, g: Inputs, value: Scores) -> None:
        """Keep the best point of each example and its gradient, and count the rises."""
        value = value.to(self.value.dtype)
        better = value > self.best_value
        self.best[better], self.best_gradient[better] = x[better], g[better]
        self.best_value = torch.where(better, value, self.best_value)
        self.rises += value > self.value
        self.value = value

    def check(self, x: Inputs, g: Inputs, enough: float) -> tuple[Inputs, Inputs]:
        """At a checkpoint: halve the step of those that no longer get on, and take them back to their best.

        Condition 1: too few of the steps since the last checkpoint raised the objective. Condition 2: neither the
        step nor the best value has changed since then.
        """
        stuck = ~self.halved & (self.checked_value == self.best_value)
        self.halved = (self.rises < enough) | stuck
        self.step = torch.where(self.halved, self.step / 2, self.step)
        self.checked_value, self.rises = self.best_value, torch.zeros_like(self.rises)
        back = over_features(self.halved, x)
        return torch.where(back, self.best, x), torch.where(back, self.best_gradient, g)


def _checkpoints(steps: int) -> frozenset[int]:
    """w_j = ceil(p_j N): p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06) (section 3)."""
    percent, stride, found = 22, 22, []
    while percent < 100:
        found.append(ceil(percent * steps / 100))
        stride = max(stride - 3, 6)
        percent += stride
    return frozenset(found)
