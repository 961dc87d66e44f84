"""Auto-PGD: projected gradient ascent that sets its own step, so that no step length has to be tuned.

Source: Croce & Hein 2020, arXiv:2003.01690, section 3 and algorithm 1; targeted runs, section 4.2. Where the set is an
l1 ball, a run is that of `apgd_l1.py`. `APGD(objective=dlr, targets=9)` is AutoAttack's APGD-T, with the
targeted loss that `dlr` describes.
"""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar, final

import torch

from brinell.arguments import Count
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.gradient.apgd_l1 import decreasing_radii, run_l1
from brinell.evasion.gradient.best import Best
from brinell.evasion.gradient.modifier import Ask, Modifier, asking, here
from brinell.evasion.hunt import Hunt, Objective, Relative
from brinell.evasion.objective import cross_entropy
from brinell.evasion.rival import runs
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
    """Auto-PGD (Croce & Hein 2020; in l1, Croce & Hein 2021).

    steps: gradients a run, before modifiers ask for more. restarts: random starts, each on the examples that still
    stand. targets: None runs away from the label; k makes each restart k runs, aimed in turn at the k wrong classes
    that score highest at x0 (at most as many as there are). Under a goal with an aim of its own every run heads there.
    modifiers: where gradients are taken; the first sees the input first. shrinking: in an l1 ball, begin each
    run at three times the radius and come down to it, as `apgd_l1.py` says; elsewhere it changes nothing. AutoAttack's
    l1 version is `APGD(restarts=5, shrinking=True)` and `APGD(objective=dlr, targets=5, shrinking=True)`.
    """

    steps: Count = 100
    restarts: Count = 1
    objective: Objective | Relative = cross_entropy
    targets: Count | None = None
    modifiers: tuple[Modifier, ...] = ()
    shrinking: bool = False
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        radius = finite_radius(self, hunt.set)
        for _ in runs(hunt, self.restarts, self.targets):
            if self.shrinking and hunt.set.pointed:
                decreasing_radii(hunt, asking(hunt, self.objective, self.modifiers), self.steps)
                continue
            hunt.sample()
            ask = asking(hunt, self.objective, self.modifiers)
            if hunt.set.pointed:
                run_l1(hunt, ask, self.steps, hunt.set)
            else:
                _run(hunt, ask, self.steps, radius)


def _run(hunt: Hunt, ask: Ask, steps: int, radius: float) -> None:
    """One run of algorithm 1, from x on."""
    checkpoints = _checkpoints(steps)
    best = hunt.carry(Best.none(hunt.x))
    run = hunt.carry(_Progress.at(hunt.x, 2 * radius))
    last = 0
    for k in hunt.steps(steps):
        value, g = ask(here)
        x = hunt.x
        best.note(x, g, value)
        run.note(value)

        if k in checkpoints:
            x, g = best.back(run.check(best.value, RHO * (k - last)), x, g)
            last = k

        z = hunt.set.project(hunt.x0, torch.addcmul(x, over_features(run.step, x), hunt.set.steepest(g)))
        # Eq. 1. The first step has no last move; the last point is judged by the hunt without a gradient.
        hunt.move(z if k == 0 else torch.lerp(2 * x - run.previous, z, MOMENTUM))
        run.previous = x


@final
@dataclass
class _Progress:
    """What one run remembers of each example, beside its best point."""

    previous: Inputs
    value: Scores
    increases: Scores
    step: Scores
    checked_value: Scores
    halved: Mask

    @classmethod
    def at(cls, x: Inputs, step: float) -> "_Progress":
        # The value before the first is infinite, so that the first point does not count as an increase.
        worst = x.new_full((len(x),), -torch.inf)
        top = x.new_full((len(x),), torch.inf)
        return cls(
            previous=x,
            value=top,
            increases=torch.zeros_like(top),
            step=torch.full_like(top, step),
            checked_value=worst,
            halved=torch.zeros_like(top, dtype=torch.bool),
        )

    def note(self, value: Scores) -> None:
        """Count the increases."""
        self.increases += value > self.value
        self.value = value

    def check(self, best: Scores, enough: float) -> Mask:
        """At a checkpoint: halve the step of those that no longer get on; says which, to go back to their best.

        Condition 1: too few of the steps since the last checkpoint raised the objective. Condition 2: neither the
        step nor the best value has changed since then.
        """
        stuck = ~self.halved & (self.checked_value == best)
        self.halved = (self.increases < enough) | stuck
        self.step = torch.where(self.halved, self.step / 2, self.step)
        self.checked_value = best
        self.increases = torch.zeros_like(self.increases)
        return self.halved


def _checkpoints(steps: int) -> frozenset[int]:
    """w_j = ceil(p_j N): p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06) (section 3)."""
    percent = 22
    stride = 22
    found = []
    while percent < 100:
        found.append(ceil(percent * steps / 100))
        stride = max(stride - 3, 6)
        percent += stride
    return frozenset(found)
