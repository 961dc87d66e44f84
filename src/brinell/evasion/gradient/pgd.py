"""Gradient ascent in a perturbation set: one loop, many names.

Sources: FGSM, Goodfellow et al. 2015 (arXiv:1412.6572, eq. 3); BIM, Kurakin et al. 2017 (arXiv:1607.02533,
eq. 2); PGD, Madry et al. 2018 (arXiv:1706.06083, eq. 2.2); MI-FGSM, Dong et al. 2018 (arXiv:1710.06081, algorithm 1).
They differ in a start, a step count and a step rule; the least-likely-class methods are these under the goal
LEAST_LIKELY.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from brinell.errors import UsageError
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.gradient.rule import Plain, StepRule
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import cross_entropy
from brinell.threat import Access


@final
@dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient ascent (Madry et al. 2018).

    steps: gradients a restart. step: length of each move in the set's units; None is 2.5 * radius / steps, and the
    radius at most. restarts: starts, each on the examples that still stand. random: start at a random point of the
    set, else at x0.
    """

    steps: int = 40
    step: float | None = None
    restarts: int = 1
    objective: Objective = cross_entropy
    rule: StepRule = Plain()
    random: bool = True
    needs: ClassVar[Access] = Access.GRADIENTS

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise UsageError(f"steps is {self.steps} and restarts {self.restarts}; both must be at least 1")

    def __call__(self, hunt: Hunt) -> None:
        step = min(1, 2.5 / self.steps) * finite_radius(self, hunt.set) if self.step is None else self.step
        for _ in hunt.steps(self.restarts):
            hunt.begin()
            if self.random:
                hunt.sample()
            direction = self.rule.begin(hunt)
            for _ in hunt.steps(self.steps):
                _, g = hunt.gradient(self.objective)
                hunt.move(hunt.x + step * hunt.set.steepest(direction(g)))


def FGSM(objective: Objective = cross_entropy) -> PGD:
    """The fast gradient sign method: one step from x0 to the edge of the set (Goodfellow et al. 2015)."""
    return PGD(steps=1, objective=objective, random=False)


def BIM(steps: int = 10, step: float | None = None, objective: Objective = cross_entropy) -> PGD:
    """The basic iterative method: PGD that starts at x0 (Kurakin et al. 2017)."""
    return PGD(steps=steps, step=step, objective=objective, random=False)
