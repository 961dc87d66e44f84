"""One-pixel attack: a few pixels, placed and coloured by differential evolution.

Source: Su et al. 2017, arXiv:1710.08864, section 3.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.arguments import AtLeast, Count
from brinell.errors import UsageError
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective, Points
from brinell.evasion.objective import cross_entropy
from brinell.evasion.score.image import as_image
from brinell.evasion.score.population import affordable, evaluate
from brinell.threat import Access

Genomes = Float[Tensor, "batch population pixels genes"]
"""Row, column, and one value a channel, all in [0, 1], of each pixel changed."""


@final
@dataclass(frozen=True)
class OnePixel(Attack):
    """One pixel, or a few (Su et al. 2017); it is for the set that counts pixels, and in others it projects.

    pixels: how many are changed. generations: of `population` queries each, all examples at once, and one more
    for the first; the last asks about fewer where the budget ends. weight: of the difference of two genomes that is
    added to a third (the paper's F); there is no crossover. A gene that leaves its range is drawn anew. A colour is
    a share of the way from the lowest to the highest value that the set and the box allow there.
    """

    pixels: Count = 1
    generations: Annotated[int, AtLeast(0)] = 100
    population: Annotated[int, AtLeast(4)] = 400
    weight: float = 0.5
    objective: Objective = cross_entropy
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        finite_radius(self, hunt.set)
        hunt.begin()
        if not all(bool(side.isfinite().all()) for side in hunt.set.hull(hunt.x0)):
            raise UsageError("OnePixel draws colours between limits, and the set and the box have none; bound the box")
        channels = as_image(hunt.x0).shape[1]
        shape = (len(hunt), self.population, self.pixels, 2 + channels)
        place = torch.rand(shape, dtype=hunt.x0.dtype, device=hunt.x0.device, generator=hunt.rng)
        colour = torch.randn(shape, dtype=hunt.x0.dtype, device=hunt.x0.device, generator=hunt.rng)
        first = torch.where(
            torch.arange(2 + channels, device=place.device) < 2, place, (0.5 + 0.5 * colour).clamp(0, 1)
        )
        least = hunt.x0.new_full(shape[:2], -torch.inf)
        # Genomes, their values, and the genomes to be tried against them.
        herd = hunt.carry(x=first, value=least, children=first)

        for _ in hunt.steps(1 + self.generations):
            count = affordable(hunt, self.population)
            if not count:
                return
            value = evaluate(hunt, count, lambda part: _painted(hunt, herd.children[:, part]), self.objective).T
            value = value.to(herd.value.dtype)
            better = value > herd.value[:, :count]
            herd.x[:, :count] = torch.where(better[..., None, None], herd.children[:, :count], herd.x[:, :count])
            herd.value[:, :count] = torch.where(better, value, herd.value[:, :count])
            herd.children = self._children(herd.x, hunt.rng)

    def _children(self, x: Genomes, rng: torch.Generator) -> Genomes:
        """One genome and a share of the difference of two others."""
        chance = torch.rand((*x.shape[:2], x.shape[1]), device=x.device, generator=rng)
        parents = chance.topk(3, dim=2).indices
        rows = torch.arange(len(x), device=x.device).reshape(-1, 1)
        a, b, c = (x[rows, parents[..., i]] for i in range(3))
        child = a + self.weight * (b - c)
        fresh = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=rng)
        return torch.where((child >= 0) & (child <= 1), child, fresh)


def _painted(hunt: Hunt, genomes: Genomes) -> Points:
    """The examples with these pixels changed: (population, batch, *shape)."""
    n, channels, height, width = as_image(hunt.x0).shape
    row = (genomes[..., 0] * height).long().clamp(max=height - 1)
    column = (genomes[..., 1] * width).long().clamp(max=width - 1)
    place = (row * width + column).unsqueeze(2).expand(-1, -1, channels, -1)
    low, high, image = (
        as_image(x).reshape(n, 1, channels, height * width).expand(-1, genomes.shape[1], -1, -1)
        for x in (*hunt.set.hull(hunt.x0), hunt.x0)
    )
    share = genomes[..., 2:].transpose(2, 3)
    colour = torch.lerp(low.gather(3, place), high.gather(3, place), share)
    points = image.scatter(3, place, colour).transpose(0, 1)
    return points.reshape(points.shape[0], *hunt.x0.shape)
