"""Box-constrained L-BFGS: the first attack there was.

Source: Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow and Fergus 2014, arXiv:1312.6199, section 4.1. The
quasi-Newton step is the two-loop recursion of Nocedal 1980, projected onto the box (Bertsekas 1982).
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from brinell.arguments import Count
from brinell.evasion.attack import Attack
from brinell.evasion.constant import Constant
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.minimal.linear import linear_constant
from brinell.evasion.objective import margin
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Labels, Logits, Mask, Scores

Pairs = Float[Tensor, "batch memory *shape"]

ENOUGH = 1e-4
"""The share of the fall that the slope promises which a step must bring (Armijo's condition)."""


def log_chance(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """The log of the probability of what the adversary wants: the aim, or any class but the label.

    With an aim it is the paper's loss, its sign turned. Without one it is bounded, as cross-entropy away from the label
    is not: least length against a loss without end jumps from no change to far beyond the boundary.
    """
    wanted = (y if aim is None else aim).unsqueeze(1)
    lead = scores.gather(1, wanted).squeeze(1) - scores.scatter(1, wanted, -torch.inf).logsumexp(1)
    return -functional.softplus(lead if aim is None else -lead, threshold=40)


@final
@dataclass(frozen=True)
class LBFGS(Attack):
    """Box-constrained L-BFGS (Szegedy et al. 2014): least squared length plus a constant times the loss.

    searches: constants tried for each example, by bisection. steps: gradients a search, each of them at a point that
    is taken or halves the step. memory: pairs of steps and changes of the gradient that are kept. objective: smooth.

    All examples advance together, each with memory, step and constant of its own. Each search goes on from where the
    last one ended. The first constant is the one that would do if the model were linear.
    """

    searches: Count = 10
    steps: Count = 20
    memory: Count = 8
    objective: Objective = log_chance
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        lead, g = hunt.gradient(margin)
        # Where two classes tie, the log chance has half of the margin's slope.
        constant = hunt.carry(Constant.begun(2 * linear_constant(-lead, g)))
        value, g = hunt.gradient(self.objective)
        descent = hunt.carry(_Descent.begun(hunt, value, g, self.memory))

        for k in hunt.steps(self.searches * self.steps):
            hunt.move_in_box(descent.trial(hunt, constant.value))
            value, g = hunt.gradient(self.objective)
            descent.judge(hunt, value, g, constant.value)
            if (k + 1) % self.steps == 0:
                constant.note(descent.hit)
                constant.bisect()
                descent.share = torch.ones_like(descent.share)


@dataclass
class _Descent:
    """Of each example: the point it has reached, with its value, gradient and success; the share of a whole step that
    it tries next; and the last moves with the turn of the gradient over each, newest first, zero for none.

    Values and gradients are the objective's alone, so they stay true when its constant changes.
    """

    x: Inputs
    value: Scores
    gradient: Inputs
    hit: Mask
    share: Scores
    moves: Pairs
    turns: Pairs

    @classmethod
    def begun(cls, hunt: Hunt, value: Scores, g: Inputs, memory: int) -> "_Descent":
        none = torch.zeros_like(g).unsqueeze(1).repeat_interleave(memory, 1)
        return cls(hunt.x, value, g, hunt.hit, torch.ones_like(value), none, none)

    def trial(self, hunt: Hunt, constant: Scores) -> Inputs:
        """The next point to ask about."""
        downhill = hunt.set.box.inward(self.x, -self._slope(hunt, constant))
        step = hunt.set.box.inward(self.x, self._newton(downhill, constant))
        uphill = _inner(step, downhill) <= 0
        step = torch.where(over_features(uphill, step), downhill / 2, step)
        return self.x + over_features(self.share.to(step.dtype), step) * step

    def judge(self, hunt: Hunt, value: Scores, g: Inputs, constant: Scores) -> None:
        """Take the point asked about where it brings enough; try half of the step elsewhere."""
        move = hunt.x - self.x
        fall = self._length(self.x, hunt) - self._length(hunt.x, hunt) + constant * (value - self.value)
        taken = fall >= -ENOUGH * _inner(self._slope(hunt, constant), move)
        wide = over_features(taken, move)
        pushed = over_features(taken, self.moves)
        self.moves = torch.where(pushed, torch.cat([move.unsqueeze(1), self.moves[:, :-1]], 1), self.moves)
        turn = (g - self.gradient).unsqueeze(1)
        self.turns = torch.where(pushed, torch.cat([turn, self.turns[:, :-1]], 1), self.turns)
        self.x = torch.where(wide, hunt.x, self.x)
        self.gradient = torch.where(wide, g, self.gradient)
        self.value = torch.where(taken, value, self.value)
        self.hit = torch.where(taken, hunt.hit, self.hit)
        self.share = torch.where(taken, 1.0, self.share / 2).to(self.share.dtype)

    def _slope(self, hunt: Hunt, constant: Scores) -> Inputs:
        return 2 * (self.x - hunt.x0) - over_features(constant, self.x) * self.gradient

    def _length(self, x: Inputs, hunt: Hunt) -> Scores:
        return (x - hunt.x0).flatten(1).square().sum(1)

    def _newton(self, downhill: Inputs, constant: Scores) -> Inputs:
        """The two-loop recursion. The squared length alone has the curvature 2 along every move."""
        pairs = []
        step = downhill

        for i in range(self.moves.shape[1]):
            move = self.moves[:, i]
            turn = 2 * move - over_features(constant, move) * self.turns[:, i]
            curvature = _inner(move, turn)
            weight = torch.where(curvature > 0, 1 / curvature, 0.0).nan_to_num(0.0, 0.0, 0.0)
            share = over_features(weight * _inner(move, step), step)
            step = step - share * turn
            pairs.append((move, turn, weight, share))

        step = step / 2
        for move, turn, weight, share in reversed(pairs):
            step = step + (share - over_features(weight * _inner(turn, step), step)) * move
        return step


def _inner(a: Inputs, b: Inputs) -> Scores:
    return (a * b).flatten(1).sum(1)
