"""GenAttack: a small population of perturbed examples, bred by score.

Source: Alzantot et al. 2019, arXiv:1805.11090, algorithm 1, with the adaptive parameters of the authors' code.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.errors import UsageError
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective, Points
from brinell.evasion.objective import cross_entropy
from brinell.evasion.score.population import affordable, evaluate
from brinell.threat import REALS, Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class GenAttack(Attack):
    """A genetic algorithm (Alzantot et al. 2019), for every set by projection.

    generations: of population - 1 forward rows each, as the best of the last lives on unasked. patience: generations
    without a better best after which mutation is made rarer and smaller, by a tenth, down to least_rate (a share of
    the features) and least_step (a share of the radius); it begins at 0.5 and 0.4.
    """

    generations: int = 1000
    population: int = 6
    patience: int = 100
    least_rate: float = 0.005
    least_step: float = 0.2
    objective: Objective = cross_entropy
    needs: ClassVar[Access] = Access.SCORES

    def __post_init__(self) -> None:
        if min(self.generations, self.patience) < 1:
            raise UsageError(f"generations and patience are {self.generations}, {self.patience}; both must be >= 1")
        if self.population < 2:
            raise UsageError(f"population is {self.population}; it must be at least 2")

    def __call__(self, hunt: Hunt) -> None:
        finite_radius(self, hunt.set)
        hunt.begin()
        size = affordable(hunt, self.population)
        if not size:
            return
        n, x0 = len(hunt), hunt.x0
        bred = torch.stack([self._mutated(hunt, hunt.x0, x0.new_zeros(n)) for _ in range(size)], 1)
        herd = hunt.carry(_Herd(bred, x0.new_zeros((n, size)), x0.new_full((n,), -torch.inf), *x0.new_zeros((2, n))))
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

            elite = _take(herd.x, best.indices.unsqueeze(1))
            bred = torch.stack(
                [self._mutated(hunt, self._child(hunt, herd), herd.plateaus) for _ in range(children)], 1
            )
            herd.x, herd.value = torch.cat([bred, elite], 1), best.values.unsqueeze(1)
            value = evaluate(hunt, children, lambda part: _points(herd, part), self.objective).T.to(x0.dtype)
            herd.value = torch.cat([value, herd.value], 1)

    def _child(self, hunt: Hunt, herd: "_Herd") -> Inputs:
        """Two parents drawn by softmax of the values; each feature is the first's with its share of the chance."""
        chance = torch.softmax(herd.value.clamp(min=torch.finfo(herd.value.dtype).min), 1)
        parents = torch.multinomial(chance, 2, replacement=True, generator=hunt.rng)
        shares = chance.gather(1, parents)
        first, second = _take(herd.x, parents).unbind(1)
        coin = torch.rand(hunt.x0.shape, dtype=hunt.x0.dtype, device=hunt.x0.device, generator=hunt.rng)
        return torch.where(coin < over_features(shares[:, 0] / shares.sum(1), coin), first, second)

    def _mutated(self, hunt: Hunt, x: Inputs, plateaus: Scores) -> Inputs:
        """Some features moved by a share of a random point of the body, drawn into set ∩ box."""
        rate = (0.5 * 0.9**plateaus).clamp(min=self.least_rate)
        step = (0.4 * 0.9**plateaus).clamp(min=self.least_step)
        coin = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=hunt.rng)
        zero = torch.zeros_like(x)
        noise = hunt.set.within(REALS).sample(zero, hunt.rng)
        return hunt.set.project(
            hunt.x0, x + torch.where(coin < over_features(rate, x), over_features(step, x) * noise, zero)
        )


@dataclass
class _Herd:
    """The population and its values; the best so far, the generations since, and how often that was too many."""

    x: Float[Tensor, "batch population *shape"]
    value: Float[Tensor, "batch population"]
    best: Scores
    idle: Scores
    plateaus: Scores


def _points(herd: _Herd, part: slice) -> Points:
    return herd.x[:, part].transpose(0, 1)


def _take(x: Tensor, members: Tensor) -> Tensor:
    """The members of each example's population, (batch, k, *shape)."""
    return x[torch.arange(len(x), device=x.device).unsqueeze(1), members]
