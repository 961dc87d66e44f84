"""UAP: one example after the other leads the perturbation a little further, until it fools enough of them.

Source: Moosavi-Dezfooli, Fawzi, Fawzi & Frossard 2017, arXiv:1610.08401, algorithm 1.
"""

from dataclasses import dataclass
from typing import final

import torch

from brinell.arguments import Checked, Count, Portion
from brinell.evasion.attack import Attack
from brinell.evasion.minimal.deepfool import DeepFool
from brinell.evasion.universal.perturbation import Perturbation
from brinell.evasion.universal.study import Fitted, Study, fit
from brinell.targets import Target
from brinell.threat import L2, Threat
from brinell.types import Inputs


@final
@dataclass(frozen=True)
class UAP(Checked):
    """Universal adversarial perturbation (Moosavi-Dezfooli et al. 2017), targeted too.

    passes: over the examples, at most. enough: the share of them fooled at which it stops (the paper's 1 - delta).
    attack: what seeks the smallest step, in l2 as in the paper, whatever the set; with an aim it seeks that.
    """

    passes: Count = 10
    enough: Portion = 0.8
    attack: Attack = DeepFool(steps=10)

    def learn(self, target: Target, x: Inputs, threat: Threat, seed: int = 0) -> Fitted:
        """A perturbation from these examples, within the threat's set and for its goal; their labels are not needed."""
        return fit(Study(target, x, threat, seed), self.passes, self.enough, self._sweep)

    def _sweep(self, study: Study, perturbation: Perturbation) -> Perturbation:
        anywhere = L2(float("inf")).within(study.set.box)
        for row in study.shuffled(1):
            x = study.set.box.clamp(study.x[row] + perturbation)
            hunt = study.hunt(self.attack, row, x, anywhere)
            if hunt.distance.isfinite().all():  # at 0 where it is fooled already
                step: torch.Tensor = hunt.outward(hunt.candidates)[0] - x[0]
                perturbation = study.project(perturbation + step)
        return perturbation
