"""Local search: the few pixels that hurt most, then those around them.

Source: Narodytska and Kasiviswanathan 2016, arXiv:1612.06299, algorithm 3 (LocSearchAdv).
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Int64
from torch import Tensor

from brinell.arguments import Count
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective, Points
from brinell.evasion.objective import cross_entropy
from brinell.evasion.score.image import as_image
from brinell.evasion.score.population import affordable, evaluate
from brinell.threat import Access
from brinell.types import Inputs, Mask

Places = Int64[Tensor, "batch points"]


@final
@dataclass(frozen=True)
class LocalSearch(Attack):
    """Greedy local search over pixels (Narodytska and Kasiviswanathan 2016), for every set by projection.

    rounds: of points + 1 queries each. points: pixels tried a round, at random over the image and then around
    the chosen; the paper tries all of the neighbourhood. chosen: pixels changed a round (the paper's t). reach: how
    far a neighbour may be, in rows and columns (d).

    The paper sends a pixel of a centred image to p times its sign, far out of the box, and by r wrapped round. Within
    set ∩ box both are the ends of its range, so a pixel goes to the lowest or the highest value, whichever was drawn.
    """

    rounds: Count = 150
    points: Count = 128
    chosen: Count = 5
    reach: Count = 5
    objective: Objective = cross_entropy
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        finite_radius(self, hunt.set)
        hunt.begin()
        _, _, height, width = as_image(hunt.x0).shape
        anywhere = torch.rand((len(hunt), height * width), device=hunt.x.device, generator=hunt.rng)
        places = anywhere.argsort(1)[:, : self.points]
        # The pixels tried next, and whether each goes to its highest value.
        tried = hunt.carry(places=places, up=places == 0)

        for _ in hunt.steps(self.rounds):
            count = affordable(hunt, tried.places.shape[1])
            if not count:
                return
            tried.up = torch.randint(0, 2, tried.places.shape, device=hunt.x.device, generator=hunt.rng).bool()
            value = evaluate(
                hunt, count, lambda part: _each_set(hunt, tried.places[:, part], tried.up[:, part]), self.objective
            )
            best = value.T.topk(min(self.chosen, count), dim=1).indices
            places = tried.places.gather(1, best)
            x = hunt.x
            for k in range(best.shape[1]):
                x = _pixel_set(hunt, x, places[:, k], tried.up.gather(1, best)[:, k])
            hunt.move(x)
            tried.places = self._around(places, height, width, hunt.rng)
            if affordable(hunt, 1):
                hunt.query()

    def _around(self, places: Places, height: int, width: int, rng: torch.Generator) -> Places:
        """Random neighbours of these, as many of each."""
        each = -(-self.points // places.shape[1])
        shape = (2, len(places), places.shape[1], each)
        down, across = torch.randint(-self.reach, self.reach + 1, shape, device=places.device, generator=rng)
        row = ((places // width).unsqueeze(2) + down).clamp(0, height - 1)
        column = ((places % width).unsqueeze(2) + across).clamp(0, width - 1)
        around: Places = (row * width + column).transpose(1, 2).flatten(1)[:, : self.points]
        return around


def _each_set(hunt: Hunt, places: Places, up: Tensor) -> Points:
    return torch.stack([_pixel_set(hunt, hunt.x, places[:, k], up[:, k]) for k in range(places.shape[1])])


def _pixel_set(hunt: Hunt, x: Inputs, place: Int64[Tensor, " batch"], up: Mask) -> Inputs:
    """x with one pixel of each example, over all channels, at an end of its range in set ∩ box."""
    low, high = (as_image(end).flatten(2) for end in hunt.set.hull(hunt.x0))
    image = as_image(x).flatten(2)
    index = place.reshape(-1, 1, 1).expand(-1, image.shape[1], 1)
    end = torch.where(up.reshape(-1, 1, 1), high.gather(2, index), low.gather(2, index))
    return image.scatter(2, index, end).reshape(x.shape)
