"""EAD: C&W with an l1 penalty on the perturbation, descended by iterative shrinkage.

Source: Chen, Sharma, Zhang, Yi & Hsieh 2018, arXiv:1709.04114, section 3 and algorithm 1.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, ClassVar, final

import torch

from brinell.arguments import AtLeast, Count, NonNegative, Positive, Probability
from brinell.evasion.attack import Attack
from brinell.evasion.constant import Constant
from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.hinge import Hinge
from brinell.evasion.minimal.linear import linear_constant
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs


@final
@dataclass(frozen=True)
class EAD(Attack):
    """Elastic-net attack (Chen et al. 2018): least beta * l1 + squared l2 length at which the margin is met.

    searches: constants tried for each example, by bisection. steps: gradients a search. step: length of a step along
    the gradient, falling to zero like a square root over each search. beta: the weight of l1. momentum: 1 for FISTA, 0
    for ISTA. confidence: the margin that a witness must have (kappa).

    The paper shrinks by beta whatever the length of the step, and so at a weight that grows as steps get shorter: 0.001
    at steps of 0.01 is 0.1. Here beta is the weight itself, and high enough by default for l1 to outweigh the rest.
    The paper returns the witness of least elastic-net or of least l1 length; here it is the one nearest in the set's
    own length, so under `L1` the rule is the second. Each search goes on from where the last one ended, and the first
    constant is the one that would do if the model were linear.
    """

    searches: Count = 9
    steps: Annotated[int, AtLeast(2)] = 50
    step: Positive = 0.01
    beta: NonNegative = 10.0
    momentum: Probability = 1.0
    confidence: NonNegative = 0.0
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        hinge = Hinge(self.confidence)
        hunt.require_margin(self.confidence)
        hunt.begin()
        lead, g = hunt.gradient(hinge)
        top = g.flatten(1).abs().amax(1)
        first = linear_constant(hunt.required_margin - lead, g) + self.beta / top.clamp(
            min=torch.finfo(g.dtype).tiny ** 0.5
        )
        constant = hunt.carry(Constant.begun(first))
        # point: the last one of each example. ahead: where its momentum leads to, and the next gradient is taken.
        path = hunt.carry(point=hunt.x0, ahead=hunt.x0)

        for k in hunt.steps(self.searches * self.steps):
            turn = k % self.steps
            hunt.move_in_box(path.ahead)
            _, g = hunt.gradient(hinge)
            constant.note(hunt.hit & (2 * turn >= self.steps))
            length = self.step * sqrt(1 - turn / self.steps)
            downhill = over_features(constant.value, g) * g - 2 * (hunt.x - hunt.x0)
            shrunk = _shrink(hunt.x + length * downhill - hunt.x0, length * self.beta)
            point = hunt.set.box.clamp(hunt.x0 + shrunk)
            path.ahead = point + self.momentum * turn / (turn + 3) * (point - path.point)
            path.point = point
            if turn + 1 == self.steps:
                constant.bisect()


def _shrink(change: Inputs, by: float) -> Inputs:
    """Soft thresholding."""
    return change.sign() * (change.abs() - by).clamp(min=0)
