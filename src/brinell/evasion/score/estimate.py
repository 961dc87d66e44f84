"""A gradient from values alone: the antithetic estimate that NES, SPSA and bandits share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.score.population import block, evaluate
from brinell.threat.sets import over_features
from brinell.types import Inputs

Draw = Callable[[tuple[int, ...], Tensor, torch.Generator], Tensor]
"""Random numbers of a shape, with the type and device of a tensor, mean 0 and variance 1."""


def gaussian(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, dtype=like.dtype, device=like.device, generator=rng)


def rademacher(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    """-1 and 1 with equal chance."""
    return torch.randint(0, 2, shape, dtype=like.dtype, device=like.device, generator=rng) * 2 - 1


def estimator(hunt: Hunt, objective: Objective, draw: Draw, smoothing: float) -> Callable[[int], Inputs]:
    """Estimates, for one run of `hunt`, the gradient of the objective at x: called with a number of pairs.

    The mean over random directions u of u (f(x + s u) - f(x - s u)) / 2s, where s is `smoothing`, in input units. It
    costs two forward rows a pair, and is the gradient of f smoothed by the draw, without bias, where both points lie
    in set ∩ box. Those that do not are projected: where a feature is at an end of its interval, one side of the
    difference is left and the estimate is half of the derivative, with its sign. So every point asked about is one
    that the adversary may show, and one that hits is a witness.
    """
    smoothing = max(smoothing, torch.finfo(hunt.x0.dtype).tiny)
    memory = hunt.carry(_Estimate(hunt.x0.unsqueeze(1), hunt.x0))

    def estimate(pairs: int) -> Inputs:
        memory.sum = torch.zeros_like(hunt.x)
        size = max(1, block(hunt, 2 * pairs) // 2)
        for first in range(0, pairs, size):
            count = min(size, pairs - first)
            memory.directions = draw((len(hunt), count, *hunt.x.shape[1:]), hunt.x, hunt.rng)
            slope = difference(hunt, lambda: smoothing * memory.directions, objective) / (2 * smoothing)
            memory.sum = memory.sum + torch.einsum("pb,bp...->b...", slope, memory.directions)
        return memory.sum / pairs

    return estimate


def difference(
    hunt: Hunt, moves: Callable[[], Float[Tensor, "batch pairs *shape"]], objective: Objective
) -> Float[Tensor, "pairs batch"]:
    """f(x + move) - f(x - move) for the moves of each example that stands; zero where a value is not finite."""
    pairs = moves().shape[1]

    def points(part: slice) -> Tensor:
        move = moves().transpose(0, 1)
        return torch.cat([hunt.x + move, hunt.x - move])[part]

    ahead, behind = evaluate(hunt, 2 * pairs, points, objective).to(hunt.x.dtype).split(pairs)
    return torch.nan_to_num(ahead - behind, 0.0, 0.0, 0.0)


@dataclass
class _Estimate:
    """The directions of one question, and the sum over those before."""

    directions: Float[Tensor, "batch pairs *shape"]
    sum: Inputs


@dataclass
class Adam:
    """Adam's step over each feature (Kingma and Ba 2015, arXiv:1412.6980), counted feature by feature.

    All fields have one row an example. A feature left out of a step keeps its moments.
    """

    mean: Inputs
    square: Inputs
    count: Inputs

    @classmethod
    def none(cls, x: Inputs) -> "Adam":
        """Before the first step."""
        return cls(torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x))

    def forget(self) -> None:
        """As before the first step."""
        self.mean, self.square, self.count = (torch.zeros_like(self.mean) for _ in range(3))

    def step(self, g: Inputs, taken: Tensor | None = None) -> Inputs:
        """The step of length about one along g, for the features taken (all without a mask); zero for others."""
        taken = torch.ones_like(g, dtype=torch.bool) if taken is None else taken
        scale = over_features(g.abs().flatten(1).amax(1).clamp(min=torch.finfo(g.dtype).tiny ** 0.5), g)
        self.count = self.count + taken
        self.mean = torch.where(taken, 0.9 * self.mean + 0.1 * g, self.mean)
        self.square = torch.where(taken, 0.999 * self.square + 0.001 * g.square(), self.square)
        mean = self.mean / (1 - 0.9 ** self.count.clamp(min=1))
        square = self.square / (1 - 0.999 ** self.count.clamp(min=1))
        step: Inputs = torch.where(taken, mean / (square.sqrt() + 1e-8 * scale), torch.zeros_like(g))
        return step
