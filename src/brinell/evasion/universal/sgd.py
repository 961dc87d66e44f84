"""Universal perturbations by stochastic gradients: batches of examples pull at one perturbation together.

Source: Shafahi, Najibi, Xu, Dickerson, Davis & Goldstein 2020, arXiv:1811.11304, algorithm 1.
"""

from dataclasses import dataclass
from typing import final

from brinell.arguments import Checked, Count, Portion, Positive
from brinell.errors import UsageError
from brinell.evasion.hunt import Objective
from brinell.evasion.objective import cross_entropy
from brinell.evasion.physical.rendered import pull_back
from brinell.evasion.universal.perturbation import Perturbation
from brinell.evasion.universal.study import Fitted, Study, fit
from brinell.targets import Target
from brinell.threat import Threat
from brinell.types import Inputs, Labels, Logits, Scores


@final
@dataclass(frozen=True)
class UniversalSGD(Checked):
    """Stochastic gradient ascent of a capped objective (Shafahi et al. 2020), targeted too.

    passes: over the examples, at most. batch: examples a step. step: the length of a step, in the set's units; None is
    a fifth of the radius. cap: the objective of an example counts up to here (the paper's beta), so that none that is
    fooled already leads the others away. enough: the share of examples fooled at which it stops. The step is the set's
    steepest direction, which in linf is the sign of the gradient.
    """

    passes: Count = 20
    batch: Count = 64
    step: Positive | None = None
    cap: float = 9.0
    objective: Objective = cross_entropy
    enough: Portion = 1.0

    def learn(self, target: Target, x: Inputs, threat: Threat, seed: int = 0) -> Fitted:
        """A perturbation from these examples, within the threat's set and for its goal; their labels are not needed."""
        if self.step is None and threat.set.radius == float("inf"):
            raise UsageError("UniversalSGD needs a finite radius and the set has none; give a radius, or a step")
        return fit(Study(target, x, threat, seed), self.passes, self.enough, self._sweep)

    def _sweep(self, study: Study, perturbation: Perturbation) -> Perturbation:
        step = study.set.radius / 5 if self.step is None else self.step
        for rows in study.shuffled(self.batch):
            x = study.x[rows]
            aims = None if study.aims is None else study.aims[rows]

            def render(v: Perturbation, x: Inputs = x) -> Inputs:
                return study.set.box.clamp(x + v)

            _, g = pull_back(study.target, perturbation, render, self._capped, study.y[rows], aims)
            perturbation = study.project(perturbation + step * study.steepest(g))
        return perturbation

    def _capped(self, scores: Logits, y: Labels, aim: Labels | None) -> Scores:
        return self.objective(scores, y, aim).clamp(max=self.cap)
