"""What universal attacks share: examples to learn from, passes over them, and the best perturbation of all passes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch

from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt
from brinell.evasion.universal.perturbation import Perturbation, Universal, askable
from brinell.evidence import Share
from brinell.targets import Target
from brinell.targets.examples import check_examples
from brinell.threat import REALS, Access, GivenAims, PerturbationSet, Threat
from brinell.types import Inputs


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """What was learnt. fooled: of the examples it was learnt from; ask `fooling` about others.

    queries, gradients: forward and gradient rows that learning took, over all examples.
    """

    universal: Universal
    fooled: Share
    queries: int
    gradients: int


@final
class Study:
    """The examples a perturbation is learnt from, with the decisions about them.

    x, y, aims: the examples, what the target says of them, and where they are to be led (None: away from y).
    """

    def __init__(self, target: Target, x: Inputs, threat: Threat, seed: int) -> None:
        if threat.access < Access.GRADIENTS or target.access < Access.GRADIENTS:
            shown = min(target.access, threat.access).name
            raise UsageError(f"a universal perturbation is learnt from GRADIENTS; the target shows {shown}")
        self.set: PerturbationSet = threat.set.within(target.box)
        self.target = target.restrict(threat.access)
        check_examples(self.target, x, x.new_zeros(len(x), dtype=torch.int64), replace(threat, set=self.set))
        self.x, self.y, self.aims = askable(self.target, x, threat)
        if not len(self.x):
            raise UsageError(
                f"the target decides every example as the goal {threat.goal.label!r} wants it; give others"
            )
        self._queries = self._gradients = 0
        self.rng = torch.Generator(x.device).manual_seed(seed)

    def project(self, perturbation: Perturbation) -> Perturbation:
        """The nearest perturbation that the set allows, whatever the example and its box."""
        one = perturbation.unsqueeze(0)
        nearest: Perturbation = self.set.within(REALS).project(torch.zeros_like(one), one)[0]
        return nearest

    def steepest(self, gradient: Perturbation) -> Perturbation:
        """The direction of length one of steepest increase."""
        direction: Perturbation = self.set.steepest(gradient.unsqueeze(0))[0]
        return direction

    def shuffled(self, size: int) -> tuple[torch.Tensor, ...]:
        """The rows of all examples, in random order, in batches."""
        order = torch.randperm(len(self.x), generator=self.rng, device=self.x.device)
        return tuple(torch.split(order, size))

    def hunt(self, attack: Attack, rows: torch.Tensor, x: Inputs, allowed: PerturbationSet) -> Hunt:
        """Run an attack from the points x of these rows, and count what it asks."""
        goal = GivenAims(None if self.aims is None else self.aims[rows])
        hunt = Hunt(self.target, x, self.y[rows], Threat(allowed, goal, self.target.access), self.rng)
        attack(hunt)
        hunt.query_if_moved()
        self._queries += int(hunt.queries.sum())
        self._gradients += int(hunt.gradients.sum())
        return hunt

    @property
    def spent(self) -> tuple[int, int]:
        """(queries, gradients) asked for so far, directly and by hunts."""
        return self.target.meter.forwards + self._queries, self.target.meter.gradients + self._gradients

    def fooled(self, perturbation: Perturbation) -> Share:
        """How many of the examples it fools."""
        rows = torch.arange(len(self.x), device=self.x.device)
        hunt = self.hunt(Universal(perturbation), rows, self.x, self.set)
        return Share(int(hunt.distance.isfinite().sum()), len(rows))


Sweep = Callable[[Study, Perturbation], Perturbation]


def fit(study: Study, passes: int, enough: float, sweep: Sweep) -> Fitted:
    """Sweep over the examples until enough of them are fooled; the perturbation that fooled most after any pass."""
    perturbation = best = torch.zeros_like(study.x[0])
    most = Share(0, len(study.x))
    for _ in range(passes):
        perturbation = sweep(study, perturbation)
        fooled = study.fooled(perturbation)
        if fooled.count >= most.count:
            best = perturbation
            most = fooled
        if most.rate >= enough:
            break
    return Fitted(Universal(best), most, *study.spent)
