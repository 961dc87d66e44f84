"""C&W, the l0 attack: an l2 attack on fewer and fewer features, those that did least being left out each time.

Source: Carlini and Wagner 2017, arXiv:1608.04644, section VI.B.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool
from torch import Tensor

from brinell.arguments import Count, Fraction, NonNegative, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.linear import linear_constant, linear_distance
from brinell.evasion.minimal.projected_adam import ProjectedAdam
from brinell.evasion.objective import margin
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores

Chosen = Bool[Tensor, "batch *shape"]


@final
@dataclass(frozen=True)
class CWL0(Attack):
    """Carlini and Wagner's l0 attack.

    rounds: selections of features tried for each example. steps: gradients a round. step: Adam's, as a share of how
    far a linear model says that one feature would have to go alone, at most the box's width. share: of the features
    in use that the first rounds leave out. confidence: the margin that a witness must have (kappa).

    The paper leaves out one feature at a time and ends where its l2 attack fails. Here a round that fails is taken
    back and followed by one that leaves out half as many; an example is done when it cannot do without one. The
    paper doubles the constant until its l2 attack succeeds; here it grows thousandfold over a round.
    """

    rounds: Count = 40
    steps: Count = 20
    step: Positive = 0.1
    share: Fraction = 0.5
    confidence: NonNegative = 0.0
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        hunt.require_margin(self.confidence)
        hunt.begin()
        lead, g = hunt.gradient(margin)
        length = linear_distance(hunt.required_margin - lead, g.flatten(1).abs().amax(1), hunt.set.box)
        begun = _Selection.begun(hunt, linear_constant(hunt.required_margin - lead, g), self.step * length, self.share)
        search = hunt.carry(begun)
        optimiser = ProjectedAdam(hunt)

        for k in hunt.steps(self.rounds * self.steps):
            hunt.move_in_box(optimiser.x)
            lead, g = hunt.gradient(margin)
            search.note(hunt, g)
            constant = search.constant * 1000 ** (k % self.steps / self.steps) * (lead < hunt.required_margin)
            uphill = over_features(constant, g) * g - 2 * (hunt.x - hunt.x0)
            optimiser.step(uphill * search.used, search.length)
            if (k + 1) % self.steps == 0:
                search.select(hunt)
                optimiser.begin(torch.where(search.used, search.witness, hunt.x0))
                hunt.drop(search.done)


@dataclass
class _Selection:
    """used: the features that may change in this round. witness: the nearest in l2 of the last round that found one, x0
    before. worth: what each of its changes does for the margin. nearest: its squared length, if it is of this round.
    share: of the witness's features to leave out next. left_out: how many were, in this round.
    """

    used: Chosen
    witness: Inputs
    worth: Inputs
    nearest: Scores
    share: Scores
    left_out: Scores
    constant: Scores
    length: Scores
    done: Mask

    @classmethod
    def begun(cls, hunt: Hunt, constant: Scores, length: Scores, share: float) -> "_Selection":
        every = torch.ones_like(hunt.x0, dtype=torch.bool)
        none = torch.zeros_like(constant)
        return cls(
            used=every,
            witness=hunt.x0,
            worth=torch.zeros_like(hunt.x0),
            nearest=none + torch.inf,
            share=none + share,
            left_out=none,
            constant=constant,
            length=length,
            done=none > 0,
        )

    def note(self, hunt: Hunt, g: Inputs) -> None:
        """Keep what was just asked about where it is a witness, and the nearest of this round."""
        change = hunt.x - hunt.x0
        length = change.flatten(1).square().sum(1)
        better = hunt.hit & (length < self.nearest)
        self.nearest = torch.where(better, length, self.nearest)
        self.witness = torch.where(over_features(better, change), hunt.x, self.witness)
        self.worth = torch.where(over_features(better, change), (g * change).abs(), self.worth)

    def select(self, hunt: Hunt) -> None:
        """The features of the next round: those of the last witness, but for the ones worth least; at least one less.

        Where there is no witness yet the margin weighs more, and steps are longer.
        """
        won = self.nearest.isfinite()
        kept = self.witness != hunt.x0
        count = kept.flatten(1).sum(1)
        never = count == 0
        self.done = ~never & ~won & (self.left_out <= 1)
        self.constant = torch.where(never, 10 * self.constant, self.constant)
        self.length = torch.where(never, 2 * self.length, self.length)
        self.share = torch.where(won | never, self.share, self.share / 2)
        self.left_out = (self.share * count).floor().clamp(min=1)
        worth = self.worth.where(kept, torch.inf).flatten(1)
        rank = worth.argsort(dim=1).argsort(dim=1).reshape(kept.shape)
        self.used = (kept & (rank >= over_features(self.left_out, rank))) | over_features(never, kept)
        self.nearest = torch.full_like(self.nearest, torch.inf)
