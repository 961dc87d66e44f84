"""GenAttack: a small population of perturbed examples, bred by score.

Source: Alzantot et al. 2019, arXiv:1805.11090, algorithm 1, with the adaptive parameters of the authors' code.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from brinell.arguments import AtLeast, Count, Portion, Positive
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Carried, Hunt, Objective, Points
from brinell.evasion.objective import margin
from brinell.evasion.score.estimate import even
from brinell.evasion.score.image import Image, as_image, enlarged, tiled
from brinell.evasion.score.population import affordable, evaluate
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class GenAttack(Attack):
    """A genetic algorithm (Alzantot et al. 2019), for every set by projection.

    generations: of population - 1 queries each, as the best of the last lives on unasked. rate, step: the share of
    the tiles that a mutation changes and by how much, as a share of what each feature may move where all move alike: of
    the radius in linf, of the radius over sqrt(d) in l2. patience: generations without a better best after which both
    are made smaller by a tenth, down to least_rate and least_step. tile: the side of the squares of pixels that share a
    change, in each channel, smaller where an image would have fewer than `side` of them along its longer side: the
    paper's reduction of dimensions (section 4.2), without its interpolation.

    Three things differ from the authors' code. The first population has every tile at plus or minus the whole of what
    it may move, where theirs hardly leaves the example. A mutation has a size and a random sign, theirs a uniform
    draw. Parents are drawn by how many standard deviations their value is above the population's mean, so that
    scores may have any scale; theirs by the value itself over a temperature.
    """

    generations: Count = 2000
    population: Annotated[int, AtLeast(2)] = 6
    rate: Portion = 0.1
    step: Positive = 0.5
    patience: Count = 100
    least_rate: float = 0.02
    least_step: float = 0.2
    tile: Count = 6
    side: Count = 8
    objective: Objective = margin
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        finite_radius(self, hunt.set)
        hunt.begin()
        size = affordable(hunt, self.population)
        if not size:
            return
        n = len(hunt)
        x0 = hunt.x0
        whole = x0.new_ones(n)
        bred = torch.stack([self._mutated(hunt, hunt.x0, whole, whole) for _ in range(size)], 1)
        # The population and its values; the best so far, the generations since, and how often that was too many.
        herd = hunt.carry(
            x=bred,
            value=x0.new_zeros((n, size)),
            best=x0.new_full((n,), -torch.inf),
            idle=x0.new_zeros(n),
            plateaus=x0.new_zeros(n),
        )
        herd.value = evaluate(hunt, size, lambda part: _points(herd, part), self.objective).T.to(x0.dtype)
        for _ in hunt.steps(self.generations - 1):
            children = affordable(hunt, size - 1)
            if not children:
                return
            best = herd.value.max(1)
            better = best.values > herd.best
            herd.idle = torch.where(better, 0, herd.idle + 1)
            herd.best = torch.where(better, best.values, herd.best)
            herd.plateaus = herd.plateaus + (herd.idle >= self.patience)
            herd.idle = torch.where(herd.idle >= self.patience, 0, herd.idle)

            rate, step = self._pace(herd.plateaus)
            elite = _take(herd.x, best.indices.unsqueeze(1))
            bred = torch.stack([self._mutated(hunt, self._child(hunt, herd), rate, step) for _ in range(children)], 1)
            herd.x = torch.cat([bred, elite], 1)
            herd.value = best.values.unsqueeze(1)
            value = evaluate(hunt, children, lambda part: _points(herd, part), self.objective).T.to(x0.dtype)
            herd.value = torch.cat([value, herd.value], 1)

    def _pace(self, plateaus: Scores) -> tuple[Scores, Scores]:
        """(rate, step) after so many plateaus."""
        rate = (self.rate * 0.9**plateaus).clamp(min=min(self.least_rate, self.rate))
        step = (self.step * 0.9**plateaus).clamp(min=min(self.least_step, self.step))
        return rate, step

    def _child(self, hunt: Hunt, herd: Carried) -> Inputs:
        """Two parents drawn by softmax of the values; each tile is the first's with its share of the chance."""
        chance = torch.softmax(_standardised(herd.value), 1)
        parents = torch.multinomial(chance, 2, replacement=True, generator=hunt.rng)
        shares = chance.gather(1, parents)
        first, second = _take(herd.x, parents).unbind(1)
        coin = enlarged(self._drawn(hunt), hunt.x0)
        return torch.where(coin < over_features(shares[:, 0] / shares.sum(1), coin), first, second)

    def _mutated(self, hunt: Hunt, x: Inputs, rate: Scores, step: Scores) -> Inputs:
        """Some tiles moved up or down, and the whole drawn into set ∩ box."""
        chosen = self._drawn(hunt) < rate.reshape(-1, 1, 1, 1)
        sign = torch.where(self._drawn(hunt) < 0.5, -1.0, 1.0).to(x.dtype)
        move = enlarged(chosen * sign, x)
        return hunt.set.project(hunt.x0, x + over_features(step * even(hunt), x) * move)

    def _drawn(self, hunt: Hunt) -> Image:
        """A uniform number for each tile of each example."""
        n, channels, height, width = as_image(hunt.x0).shape
        shape = (n, channels, *tiled(height, width, self.tile, self.side))
        return torch.rand(shape, dtype=hunt.x0.dtype, device=hunt.x0.device, generator=hunt.rng)


def _points(herd: Carried, part: slice) -> Points:
    return herd.x[:, part].transpose(0, 1)


def _take(x: Tensor, members: Tensor) -> Tensor:
    """The members of each example's population, (batch, k, *shape)."""
    return x[torch.arange(len(x), device=x.device).unsqueeze(1), members]


def _standardised(value: Tensor) -> Tensor:
    """Each row less its mean, over its standard deviation; what is not finite counts as the least that is."""
    least = value.where(value.isfinite(), torch.inf).amin(1, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
    value = value.where(value.isfinite(), least)
    centred = value - value.mean(1, keepdim=True)
    return centred / centred.square().mean(1, keepdim=True).sqrt().clamp(min=torch.finfo(value.dtype).tiny)
