"""Carlini and Wagner's goal: the margin, as far as it is asked for."""

from dataclasses import dataclass
from typing import final

from brinell.arguments import NonNegative
from brinell.evasion.objective import Absolute, Objective, margin
from brinell.types import Labels, Logits, Scores


@final
@dataclass(frozen=True)
class Hinge(Absolute):
    """min(margin, confidence): the f_6 of Carlini and Wagner 2017 (arXiv:1608.04644, section V.A), sign turned.

    confidence: the paper's kappa, in the user's units of the scores. There is nothing to gain beyond it, and no
    gradient.
    """

    confidence: NonNegative = 0.0

    def within(self, unit: Scores) -> Objective:
        def hinge(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
            return margin(scores, y, aim).clamp(max=(self.confidence / unit).to(scores.dtype))

        return hinge
