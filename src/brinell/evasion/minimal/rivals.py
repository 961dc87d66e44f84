"""The classes whose faces a linearising attack weighs."""

from dataclasses import dataclass

import torch

from brinell.evasion.hunt import Classes, Hunt
from brinell.types import Jacobian, Labels, Logits


@dataclass
class Rivals:
    """Of each example: the class that scores are measured from, and those that are measured against it."""

    first: Labels
    classes: Classes

    @classmethod
    def of(cls, hunt: Hunt, most: int | None = None) -> "Rivals":
        """Of the aim where there is one, else of the label; at most so many, those that score highest at x0."""
        first = hunt.y if hunt.aim is None else hunt.aim
        if hunt.clean is None:
            return cls(first, first.unsqueeze(1))
        scores = hunt.clean.scatter(1, first.unsqueeze(1), -torch.inf)
        rivals = scores.shape[1] - 1
        return cls(first, scores.topk(rivals if most is None else min(most, rivals), dim=1).indices)

    def ask(self, hunt: Hunt) -> tuple[Logits, Jacobian]:
        """(score of each rival less the first class's, its gradient) at x, a gradient row each; after `hunt.carry`."""
        scores, gradients = hunt.jacobian(self.classes, self.first)
        return scores.gather(1, self.classes) - scores.gather(1, self.first.unsqueeze(1)), gradients
