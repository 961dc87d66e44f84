"""DeepFool: step onto the nearest face of the linearised decision region, again and again.

Source: Moosavi-Dezfooli, Fawzi & Frossard 2016, arXiv:1511.04599, algorithm 2; other norms, section 3.3.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Classes, Hunt
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Jacobian, Logits, Mask


@final
@dataclass(frozen=True)
class DeepFool(Attack):
    """DeepFool (Moosavi-Dezfooli et al. 2016): few gradients, and a distance that is near the smallest.

    steps: linearisations. classes: how many rivals are weighed, those that score highest at x0. Each step costs a
    gradient for each of them and one for the label. overshoot: the paper's eta. Each point asked about is the whole
    path lengthened by it once, so that on a linear model the distance is 1 + overshoot times the smallest. Under a
    goal with an aim each step makes up the aim's arrears on the class on top. A deviation from the paper: what leads
    out of the box at its edge is left out of the linear model, or a step could be stopped there each time.
    """

    steps: int = 50
    classes: int = 9
    overshoot: float = 0.02
    needs: ClassVar[Access] = Access.GRADIENTS

    def __post_init__(self) -> None:
        if self.steps < 1 or self.classes < 1:
            raise UsageError(f"steps is {self.steps} and classes {self.classes}; both must be at least 1")
        if not self.overshoot >= 0:
            raise UsageError(f"overshoot is {self.overshoot}; it must be a number >= 0")

    def __call__(self, hunt: Hunt) -> None:
        path = hunt.carry(_Path(_classes(hunt, self.classes), torch.zeros_like(hunt.y, dtype=torch.bool)))
        for _ in hunt.steps(self.steps):
            scores, jacobian = hunt.jacobian(path.classes)
            path.over |= hunt.hit
            if path.over.all():
                break
            travelled = (hunt.x - hunt.x0) / (1 + self.overshoot)
            step = _to_face(hunt, scores.gather(1, path.classes), jacobian)
            onward = hunt.x0 + (1 + self.overshoot) * (travelled + step)
            hunt.move(torch.where(over_features(path.over, step), hunt.x, onward))


@dataclass
class _Path:
    """Of each example: the class its score is measured from, with that class's rivals, and whether it has arrived."""

    classes: Classes
    over: Mask


def _classes(hunt: Hunt, most: int) -> Classes:
    """The label, or the aim where there is one; then its rivals that score highest at x0."""
    first = hunt.y if hunt.aim is None else hunt.aim
    if hunt.clean is None:
        return first.unsqueeze(1)
    rivals = hunt.clean.scatter(1, first.unsqueeze(1), -torch.inf)
    return torch.cat([first.unsqueeze(1), rivals.topk(min(most, rivals.shape[1] - 1), dim=1).indices], 1)


def _to_face(hunt: Hunt, scores: Logits, jacobian: Jacobian) -> Inputs:
    """The shortest step, by the linear model of the scores, to where the first class ties with the rival chosen."""
    lead = scores[:, :1] - scores[:, 1:]
    normals = jacobian[:, 1:] - jacobian[:, :1]
    normals = hunt.set.box.inward(hunt.x.unsqueeze(1).expand_as(normals).flatten(0, 1), normals.flatten(0, 1))
    normals = normals.unflatten(0, jacobian[:, 1:].shape[:2])
    directions = hunt.set.steepest(normals.flatten(0, 1)).unflatten(0, normals.shape[:2])
    slopes = (normals * directions).flatten(2).sum(2)
    reach = lead / slopes
    cost = reach.abs() if hunt.aim is None else lead
    chosen = cost.where(slopes > 0, torch.inf).argmin(1, keepdim=True)
    length = reach.gather(1, chosen).squeeze(1).nan_to_num(0.0, 0.0, 0.0)
    step: Inputs = (
        over_features(length, hunt.x) * directions[torch.arange(len(hunt), device=hunt.x.device), chosen.squeeze(1)]
    )
    return step
