"""JSMA: the few features that move the scores most are moved all the way.

Source: Papernot, McDaniel, Jha, Fredrikson, Celik & Swami 2016, arXiv:1511.07528, algorithms 2 and 3. With
`together=1` and a step that only adds it is the attack on feature vectors of Grosse, Papernot, Manoharan, Backes &
McDaniel 2016, arXiv:1606.04435.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brinell.arguments import Count, Portion
from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt
from brinell.threat import Access
from brinell.types import Labels, Logits, Scores

Features = Float[Tensor, "batch features"]
Chosen = Bool[Tensor, "batch features"]

CELLS = 2**22
"""Pairs weighed at once, over all examples: it bounds memory and changes no result."""


@final
@dataclass(frozen=True)
class JSMA(Attack):
    """The Jacobian-based saliency map attack (Papernot et al. 2016).

    step: what is added to each feature chosen, in widths of the box (theta): above 0 it is raised, below 0 lowered.
    both: each choice may also go the other way, whichever is more salient (Wiyatno and Xu 2018, arXiv:1808.07945); a
    feature keeps to the way it first went. Without it features only go the way of the step, as the paper has it for
    one run. share: of the features that may change at most (gamma). together: how many are chosen at a time, 2 or 1.
    steps: choices at most. A step costs two gradients, of the score aimed at and of the sum of all others.

    Without an aim it is headed for the rival that scores highest at each point. An example is let go once it is
    adversarial, or no choice is left.
    """

    step: float = 1.0
    both: bool = True
    share: Portion = 1.0
    together: Literal[1, 2] = 2
    steps: Count = 1000
    needs: ClassVar[Access] = Access.GRADIENTS

    def __post_init__(self) -> None:
        if not self.step:
            raise UsageError("step is 0; give a number above 0 to raise features, below 0 to lower them")

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        every = torch.ones_like(hunt.x0, dtype=torch.bool).flatten(1)
        other = every if self.both else ~every
        # domain: the features that may still go the way of the step, then those that may go the other (the paper's
        # Gamma). gain: the gradient of the score aimed at.
        search = hunt.carry(domain=torch.cat([every, other], 1), gain=torch.zeros_like(hunt.x0))
        for _ in hunt.steps(self.steps):
            _, search.gain = hunt.gradient(_wanted)
            _, others = hunt.gradient(_others)
            way = 1 if self.step > 0 else -1
            gain = way * search.gain.flatten(1)
            loss = -way * others.flatten(1)
            left = search.domain & self._room(hunt)
            chosen = most_salient(torch.cat([gain, -gain], 1), torch.cat([loss, -loss], 1), left, self.together)

            moved = chosen.unflatten(1, (2, -1)).any(1)
            changed = (hunt.x != hunt.x0).flatten(1) | moved
            over = hunt.hit | ~moved.any(1) | (changed.sum(1) > self.share * changed.shape[1])
            hunt.drop(over)
            ahead, back = chosen[~over].unflatten(1, (2, -1)).unbind(1)
            before = hunt.x
            hunt.move(before + self.step * (ahead.to(before.dtype) - back.to(before.dtype)).reshape(before.shape))
            stuck = (hunt.x == before).flatten(1)
            search.domain = search.domain & ~torch.cat([back | (ahead & stuck), ahead | (back & stuck)], 1)

    def _room(self, hunt: Hunt) -> Chosen:
        """Which features the box lets move by the step, and which the other way."""
        low, high = hunt.set.box.limits(hunt.x)
        up = (hunt.x < high).flatten(1)
        down = (hunt.x > low).flatten(1)
        return torch.cat([up, down] if self.step > 0 else [down, up], 1)


def most_salient(gain: Features, loss: Features, left: Chosen, together: int) -> Chosen:
    """The features, one or two, whose summed gain times summed loss is largest, of those where both sums are above 0.

    gain: how much each raises the score aimed at; loss: how much it lowers the others. None where no choice will do.
    """
    gain, loss = (v.where(left, -torch.inf) for v in (gain, loss))
    if together == 1:
        saliency = torch.where((gain > 0) & (loss > 0), gain * loss, 0.0)
        best = saliency.argmax(1, keepdim=True)
        return torch.zeros_like(left).scatter(1, best, saliency.gather(1, best) > 0)
    # Whatever has two others ahead of it in both respects can be replaced by one of them, and need not be weighed.
    order = gain.argsort(dim=1, descending=True, stable=True)
    ordered = loss.gather(1, order)
    second = torch.minimum(ordered[:, 1:], ordered.cummax(1).values[:, :-1]).cummax(1).values
    ahead = torch.cat([torch.full_like(ordered[:, :2], -torch.inf), second[:, :-1]], 1)[:, : ordered.shape[1]]
    worth = ordered > ahead
    index = order.gather(1, worth.int().topk(max(1, int(worth.sum(1).amax()) if len(worth) else 1), 1).indices)
    gain = gain.gather(1, index)
    loss = loss.gather(1, index)
    count = index.shape[1]
    chosen = torch.zeros_like(left)

    for rows in torch.arange(len(gain), device=gain.device).split(max(1, CELLS // count**2)):
        a, b = (v[rows].unsqueeze(1) + v[rows].unsqueeze(2) for v in (gain, loss))
        saliency = torch.where((a > 0) & (b > 0), a * b, 0.0).triu(1).flatten(1)
        value, best = saliency.max(1)
        pair = torch.stack([best // count, best % count], 1)
        chosen[rows] = chosen[rows].scatter(1, index[rows].gather(1, pair), (value > 0).unsqueeze(1).expand(-1, 2))

    return chosen


def _wanted(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """The score aimed at, or of the best rival."""
    return scores.gather(1, _class(scores, y, aim)).squeeze(1)


def _others(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """The sum of all other scores."""
    return scores.scatter(1, _class(scores, y, aim), 0.0).sum(1)


def _class(scores: Logits, y: Labels, aim: Labels | None) -> Tensor:
    if aim is not None:
        return aim.unsqueeze(1)
    return scores.detach().scatter(1, y.unsqueeze(1), -torch.inf).argmax(1, keepdim=True)
