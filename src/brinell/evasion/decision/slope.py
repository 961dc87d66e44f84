"""The direction across the decision boundary, from decisions at random points around a point on it.

Chen et al. 2020, arXiv:1904.02144, eq. 16: the mean of random directions, each with the sign of its decision, less
the mean sign.
"""

from dataclasses import dataclass

import torch

from brinell.evasion.decision.start import BLOCK, Flags, Point, Rows, ask, directions, inside
from brinell.evasion.hunt import Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores


def slope(hunt: Hunt, at: Point, radius: Scores, count: int) -> Inputs:
    """The sum of signed directions: it points to where decisions serve the adversary. Its length is `count` at most.

    radius: the l2 distance of the probes from the point, one an example. An example that cannot pay for `count`
    probes makes do with those it can pay for.
    """
    none = torch.zeros(len(hunt), dtype=at.x.dtype, device=at.x.device)
    with hunt.carrying(_Sum(radius.to(at.x.dtype), torch.zeros_like(at.x), torch.zeros_like(at.x), none, none)) as sum:
        for first in range(0, count, BLOCK):
            if not len(hunt):
                break
            _probe(hunt, at, sum, min(BLOCK, count - first))
        mean = sum.signs / sum.count.clamp(min=1)
        centred = sum.signed - over_features(mean, at.x) * sum.plain
        return torch.where(over_features(mean.abs() < 1, at.x), centred, sum.signed)


def _probe(hunt: Hunt, at: Point, sum: "_Sum", count: int) -> None:
    length = over_features(sum.radius, at.x).unsqueeze(1)
    points = inside(hunt, at.x.unsqueeze(1) + length * directions(hunt, count))
    asked = torch.arange(count, device=at.x.device) < hunt.left.unsqueeze(1)
    asked[:, 0] = True
    moved = (points - at.x.unsqueeze(1)) / length.clamp(min=torch.finfo(at.x.dtype).tiny)
    with hunt.carrying(_Probes(moved, asked)) as probes:
        hits = ask(hunt, points, asked)
        paid = probes.asked.to(at.x.dtype)
        signs = (2 * hits.to(at.x.dtype) - 1) * paid
        sum.signed = sum.signed + torch.einsum("bk,bk...->b...", signs, probes.moved)
        sum.plain = sum.plain + torch.einsum("bk,bk...->b...", paid, probes.moved)
        sum.signs = sum.signs + signs.sum(1)
        sum.count = sum.count + paid.sum(1)


@dataclass
class _Sum:
    radius: Scores
    signed: Inputs
    plain: Inputs
    signs: Scores
    count: Scores


@dataclass
class _Probes:
    moved: Rows
    asked: Flags
