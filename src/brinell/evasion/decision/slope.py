"""The direction across the decision boundary, from decisions at random points around a point on it.

Chen et al. 2020, arXiv:1904.02144, eq. 16: the mean of random directions, each with the sign of its decision, less
the mean sign. Sign-OPT and GeoDA sum directions in the same way.
"""

from collections.abc import Callable

import torch

from brinell.evasion.decision.start import BLOCK, Point, Rows, ask, directions, inside
from brinell.evasion.hunt import Carried, Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores

Places = Callable[[Rows], tuple[Rows, Rows]]
"""For random directions of length one: the points to ask about, and the direction each stands for."""


def slope(hunt: Hunt, at: Point, radius: Scores, count: int) -> Inputs:
    """The sum of signed directions: it points to where decisions are adversarial. Its length is `count` at most.

    radius: the l2 distance of the probes from the point, one an example; a probe moved into the box stands for the
    way it really went.
    """
    with hunt.carrying(radius=radius.to(at.x.dtype).clamp(min=torch.finfo(at.x.dtype).tiny)) as ball:

        def around(u: Rows) -> tuple[Rows, Rows]:
            radius = over_features(ball.radius, at.x).unsqueeze(1)
            points = inside(hunt, at.x.unsqueeze(1) + radius * u)
            return points, (points - at.x.unsqueeze(1)) / radius

        return signed_sum(hunt, count, around)


def signed_sum(hunt: Hunt, count: int, places: Places) -> Inputs:
    """The sum of `count` directions, each with the sign of the decision at its place, less the mean sign.

    An example that cannot pay for `count` decisions makes do with those it can pay for.
    """
    nothing = torch.zeros(len(hunt), dtype=hunt.x0.dtype, device=hunt.x0.device)
    with hunt.carrying(
        signed=torch.zeros_like(hunt.x0), plain=torch.zeros_like(hunt.x0), signs=nothing, count=nothing
    ) as total:
        for first in range(0, count, BLOCK):
            if not len(hunt):
                break
            _probe(hunt, total, min(BLOCK, count - first), places)
        mean = total.signs / total.count.clamp(min=1)
        centred = total.signed - over_features(mean, total.plain) * total.plain
        return torch.where(over_features(mean.abs() < 1, centred), centred, total.signed)


def _probe(hunt: Hunt, total: Carried, count: int, places: Places) -> None:
    points, ways = places(directions(hunt, count))
    asked = torch.arange(count, device=points.device) < hunt.left.clamp(min=1).unsqueeze(1)
    with hunt.carrying(ways=ways, asked=asked) as probes:
        hits = ask(hunt, points, asked)
        paid = probes.asked.to(ways.dtype)
        signs = (2 * hits.to(ways.dtype) - 1) * paid
        total.signed = total.signed + torch.einsum("bk,bk...->b...", signs, probes.ways)
        total.plain = total.plain + torch.einsum("bk,bk...->b...", paid, probes.ways)
        total.signs = total.signs + signs.sum(1)
        total.count = total.count + paid.sum(1)
