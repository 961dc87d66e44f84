"""Sparse steps: the few features whose gradients are largest move by the same amount.

The steepest step of an l1 ball moves one feature; shared among several, a step reaches farther along a gradient that
changes on the way.
"""

import torch

from brinell.evasion.hunt import Hunt
from brinell.threat import PerturbationSet
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores


def leading(hunt: Hunt, x: Inputs, g: Inputs, share: Scores, within: PerturbationSet | None = None) -> Inputs:
    """The signs of the largest `share` of the gradients g at x, as a move of length one in the set.

    within: the set, where it is another than the hunt's. share: one an example; at least one feature moves. What leads
    out of set ∩ box is left out, and all of those that tie with the last are taken.
    """
    g = (hunt.set if within is None else within).inward(hunt.x0, x, g)
    size = g.abs().flatten(1)
    features = size.shape[1]
    last = ((1 - share) * features).long().clamp(0, features - 1).unsqueeze(1)
    least = size.sort(1).values.gather(1, last).squeeze(1)
    move = g.sign() * (g.abs() >= over_features(least, g))
    length = hunt.set.distance(hunt.x0, hunt.x0 + move).to(move.dtype)
    return move / over_features(length.where(length > 0, torch.ones_like(length)), move)
