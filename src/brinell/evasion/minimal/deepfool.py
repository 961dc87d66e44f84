"""DeepFool: step onto the nearest face of the linearised decision region, again and again.

Source: Moosavi-Dezfooli, Fawzi & Frossard 2016, arXiv:1511.04599, algorithm 2; other norms, section 3.3.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count, NonNegative
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.rivals import Rivals
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Jacobian, Logits

LEAST = 3e-3
"""Of the way come so far, the share that each step goes beyond its face at least: where steps shrink, 2 % of one may
not cross the boundary."""


@final
@dataclass(frozen=True)
class DeepFool(Attack):
    """DeepFool (Moosavi-Dezfooli et al. 2016): few gradients, and a distance that is near the smallest.

    steps: linearisations, of which an example takes as many as it needs. classes: how many rivals are weighed, those
    that score highest at x0; each step costs a gradient for each. overshoot: the paper's eta. Each step is lengthened
    by it, so that the boundary is crossed, and on a linear model the distance is 1 + overshoot times the smallest.
    Under a goal with an aim each step makes up the aim's arrears on the class on top. A deviation from the authors'
    code, which adds 0.0001 to each step: here it is three thousandths of the way come so far.
    """

    steps: Count = 50
    classes: Count = 9
    overshoot: NonNegative = 0.02
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        rivals = hunt.carry(Rivals.of(hunt, self.classes))
        for _ in hunt.steps(self.steps):
            lead, normals = rivals.ask(hunt)
            onward = ~hunt.hit
            hunt.drop(hunt.hit)
            step = _to_face(hunt, lead[onward], normals[onward])
            come = hunt.set.distance(hunt.x0, hunt.x)
            length = hunt.set.distance(hunt.x, hunt.x + step)
            stretch = 1 + self.overshoot + (LEAST * come / length).nan_to_num(0.0, 0.0, 0.0)
            hunt.move_in_box(hunt.x + over_features(stretch.to(step.dtype), step) * step)


def _to_face(hunt: Hunt, lead: Logits, normals: Jacobian) -> Inputs:
    """The shortest step, by the linear model of the scores, to where a rival ties with the label, or the aim with it.

    lead: of each rival. normals: the gradients of these leads.
    """
    directions = hunt.set.steepest(normals.flatten(0, 1)).unflatten(0, lead.shape)
    slope = (normals * directions).flatten(2).sum(2)
    reach = torch.where(slope > 0, -lead / slope, torch.inf)
    chosen = (reach if hunt.aim is None else -lead).argmin(1)
    rows = torch.arange(len(hunt), device=lead.device)
    length = reach[rows, chosen].nan_to_num(0.0, 0.0, 0.0)
    step: Inputs = over_features(length, hunt.x) * directions[rows, chosen]
    return step
