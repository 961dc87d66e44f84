"""A gradient from values alone: the antithetic estimate that NES, SPSA and bandits share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.score.population import affordable, block, evaluate
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores

Draw = Callable[[tuple[int, ...], Tensor, torch.Generator], Tensor]
"""Random numbers of a shape, with the type and device of a tensor, mean 0 and variance 1."""


def gaussian(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, dtype=like.dtype, device=like.device, generator=rng)


def rademacher(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    """-1 and 1 with equal chance."""
    return torch.randint(0, 2, shape, dtype=like.dtype, device=like.device, generator=rng) * 2 - 1


def even(hunt: Hunt) -> Scores:
    """How far each feature moves, in input units, where all move alike and the whole has the length of the radius.

    For linf it is the radius, for l2 the radius over sqrt(d), where a set cannot measure such a move the radius.
    """
    length = hunt.set.distance(hunt.x0, hunt.x0 + 1)
    measured = length.isfinite() & (length > 0)
    return (hunt.set.radius / length.where(measured, 1.0)).to(hunt.x0.dtype)


def estimates(
    hunt: Hunt, objective: Objective, draw: Draw, smoothing: float, steps: int, pairs: int
) -> Iterator[Inputs]:
    """At most `steps` estimates of the gradient, each at the point that the caller has moved to after the last one.

    They end with the budget; the last is made of the pairs that can still be paid for.
    """
    estimate = estimator(hunt, objective, draw, smoothing)
    for _ in hunt.steps(steps):
        count = affordable(hunt, 2 * pairs) // 2
        if not count:
            return
        yield estimate(count)


def estimator(hunt: Hunt, objective: Objective, draw: Draw, smoothing: float) -> Callable[[int], Inputs]:
    """Estimates, for one run of `hunt`, the gradient of the objective at x: called with a number of pairs.

    The mean over random directions u of u (f(x + s u) - f(x - s u)) / 2s, where s is `smoothing`, as a share of what a
    feature may move (`even`). It costs two queries a pair, and is the gradient of f smoothed by the draw, without
    bias, where both points lie in set ∩ box. Those that do not are projected: where a feature is at an end of its
    interval, one side of the difference is left and the estimate is half of the derivative, with its sign. So every
    point asked about is one that the adversary may show, and one that hits is a witness.
    """
    least = torch.finfo(hunt.x0.dtype).tiny
    memory = hunt.carry(_Estimate(hunt.x0.unsqueeze(1), hunt.x0, (smoothing * even(hunt)).clamp(min=least)))

    def estimate(pairs: int) -> Inputs:
        memory.sum = torch.zeros_like(hunt.x)
        size = max(1, block(hunt, 2 * pairs) // 2)
        for first in range(0, pairs, size):
            count = min(size, pairs - first)
            memory.directions = draw((len(hunt), count, *hunt.x.shape[1:]), hunt.x, hunt.rng)
            slope = difference(hunt, memory.moves, objective) / (2 * memory.smoothing)
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
    """The directions of one question, the sum over those before, and how far they are followed, in input units."""

    directions: Float[Tensor, "batch pairs *shape"]
    sum: Inputs
    smoothing: Scores

    def moves(self) -> Float[Tensor, "batch pairs *shape"]:
        return over_features(self.smoothing, self.directions) * self.directions
