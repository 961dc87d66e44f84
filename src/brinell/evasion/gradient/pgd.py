"""Gradient ascent in a perturbation set: one loop, many names.

Sources: FGSM, Goodfellow et al. 2015 (arXiv:1412.6572, eq. 3); BIM, Kurakin et al. 2017 (arXiv:1607.02533,
eq. 2); PGD, Madry et al. 2018 (arXiv:1706.06083, eq. 2.2); SLIDE, Tramer and Boneh 2019 (arXiv:1904.13000, section 3);
TPGD, Zhang et al. 2019 (arXiv:1901.08573, eq. 5); EOT, Athalye et al. 2018 (arXiv:1707.07397, section 2.1).
They differ in a start, a step count, a step rule, an objective and modifiers of the gradient; those made for transfer
are in `transferable.py`. The methods that head for the least likely class are these under the goal LEAST_LIKELY.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Positive
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.gradient.expectation import EOT
from brinell.evasion.gradient.modifier import Modifier, asking
from brinell.evasion.gradient.rule import Plain, SparseStep, StepRule
from brinell.evasion.gradient.start import StartingPoint
from brinell.evasion.hunt import Hunt, Objective, Relative
from brinell.evasion.objective import Divergence, cross_entropy
from brinell.threat import Access


@final
@dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient ascent (Madry et al. 2018).

    steps: gradients a restart, before modifiers ask for more. step: length of each move in the set's units; None is
    travel * radius / steps, and the radius at most. restarts: starts, each on the examples that still stand. random:
    start at a random point of the set, else at x0. rule: how gradients become moves. modifiers: where gradients are
    taken; the first sees the input first. travel: all moves together, in radii, where no step is given. start: where a
    restart begins instead. falling: each step is shorter than the one before it, from `step` linearly down to nothing.
    """

    steps: Count = 40
    step: float | None = None
    restarts: Count = 1
    objective: Objective | Relative = cross_entropy
    rule: StepRule = Plain()
    random: bool = True
    modifiers: tuple[Modifier, ...] = ()
    travel: Positive = 2.5
    start: StartingPoint | None = None
    falling: bool = False
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        if self.step is None:
            step = min(1, self.travel / self.steps) * finite_radius(self, hunt.set)
        else:
            step = self.step / hunt.measure
        for restart in hunt.steps(self.restarts):
            hunt.begin()
            if self.start is not None:
                self.start.begin(hunt, restart)
            elif self.random:
                hunt.sample()
            move = self.rule.begin(hunt, asking(hunt, self.objective, self.modifiers), step)
            for k in hunt.steps(self.steps):
                direction = move()
                length = step * (1 - k / self.steps) if self.falling else step
                hunt.move(torch.add(hunt.x, direction, alpha=length))


def FGSM(objective: Objective = cross_entropy) -> PGD:
    """The fast gradient sign method: one step from x0 to the edge of the set (Goodfellow et al. 2015)."""
    return PGD(steps=1, objective=objective, random=False)


def BIM(steps: int = 10, step: float | None = None, objective: Objective = cross_entropy) -> PGD:
    """The basic iterative method: PGD that starts at x0 (Kurakin et al. 2017)."""
    return PGD(steps=steps, step=step, objective=objective, random=False)


def SLIDE(steps: int = 40, step: float | None = None, share: float = 0.01, restarts: int = 1) -> PGD:
    """Sparse l1 descent: each step moves a share of the features by the same amount (Tramer and Boneh 2019).

    It is made for the l1 ball, where the steepest step moves one feature alone, and works in every set.
    """
    return PGD(steps=steps, step=step, restarts=restarts, rule=SparseStep(share))


def TPGD(steps: int = 10, step: float | None = None, restarts: int = 1) -> PGD:
    """PGD on the divergence from the clean probabilities: the inner maximisation of TRADES (Zhang et al. 2019).

    It knows no label. The authors' code starts at x0 with Gaussian noise of deviation 0.001; here it starts anywhere
    in the set.
    """
    return PGD(steps=steps, step=step, restarts=restarts, objective=Divergence())


def EOTPGD(draws: int = 10, steps: int = 40, step: float | None = None, restarts: int = 1) -> PGD:
    """PGD on the mean gradient of several passes, for targets with chance of their own (Athalye et al. 2018).

    For a random transformation of your own, give `EOT(draws, view)` to PGD or APGD as a modifier.
    """
    return PGD(steps=steps, step=step, restarts=restarts, modifiers=(EOT(draws),))
