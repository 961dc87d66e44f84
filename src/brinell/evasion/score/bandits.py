"""Bandits: a gradient remembered over time and shared by neighbours, learnt from two scores a step.

Source: Ilyas et al. 2019, arXiv:1807.07978, algorithms 2 and 3, with both priors: the estimate of one step starts the
next (time), and neighbouring pixels share a value (data).
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import cross_entropy
from brinell.evasion.score.estimate import difference, gaussian
from brinell.evasion.score.image import Image, as_image
from brinell.evasion.score.population import affordable
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs


@final
@dataclass(frozen=True)
class Bandits(Attack):
    """Bandit optimisation with time and data priors (Ilyas et al. 2019).

    steps: moves, of two forward rows each. side: how many tiles the longer side of an image is cut into; one value of
    the prior a tile and channel; no fewer than the pixels means no data prior. step: of each move, as a share of the
    radius. smoothing: the l2 length of the changes that are measured, in input units (eta), at most.
    rate: of the prior, learnt by exponentiated gradients for every set (the authors' code has another rule for l2).

    The paper asks at x + eta (v + delta u) and x + eta (v - delta u), v the prior. Drawn into set ∩ box the two
    would be one point wherever v leads out, so ours leave v out, which changes their difference to second order only.
    """

    steps: int = 5000
    side: int = 16
    step: float = 0.2
    smoothing: float = 0.1
    rate: float = 100.0
    objective: Objective = cross_entropy
    needs: ClassVar[Access] = Access.SCORES

    def __post_init__(self) -> None:
        if min(self.steps, self.side) < 1:
            raise UsageError(f"steps and side are {self.steps} and {self.side}; both must be at least 1")
        if not min(self.step, self.smoothing, self.rate) > 0:
            raise UsageError(
                f"step, smoothing and rate are {self.step}, {self.smoothing} and {self.rate}; all must be above 0"
            )

    def __call__(self, hunt: Hunt) -> None:
        step = self.step * finite_radius(self, hunt.set)
        hunt.begin()
        none = self._tiles(as_image(hunt.x0))
        size = prod(none.shape[1:])
        memory = hunt.carry(_Prior(none, none, hunt.x0.unsqueeze(1)))
        for _ in hunt.steps(self.steps):
            if affordable(hunt, 2) < 2:
                return
            memory.noise = gaussian(tuple(memory.prior.shape), hunt.x, hunt.rng) / size**0.5
            wide = _upsampled(memory.noise, hunt.x)
            lead = _length(_upsampled(memory.prior + memory.noise, hunt.x))
            memory.move = (self.smoothing * wide / lead).unsqueeze(1)
            slope = difference(hunt, lambda: memory.move, self.objective)[0] / self.smoothing
            g = over_features(slope, memory.noise) * memory.noise
            memory.prior = _exponentiated(memory.prior, self.rate * g)
            hunt.move(hunt.x + step * hunt.set.steepest(_upsampled(memory.prior, hunt.x)))

    def _tiles(self, image: Image) -> Image:
        n, channels, height, width = image.shape
        share = min(1.0, self.side / max(height, width))
        return image.new_zeros((n, channels, max(1, round(height * share)), max(1, round(width * share))))


@dataclass
class _Prior:
    """The gradient believed in, in [-1, 1] a tile; what was drawn; the move it makes."""

    prior: Image
    noise: Image
    move: Tensor


def _upsampled(tiles: Image, x: Inputs) -> Inputs:
    """Every pixel with the value of its tile, in the shape of x."""
    return functional.interpolate(tiles, as_image(x).shape[2:], mode="nearest").reshape(x.shape)


def _exponentiated(prior: Image, g: Image) -> Image:
    """A step of exponentiated gradients in [-1, 1]: tanh(artanh(prior) + g), kept from the ends."""
    edge = 1 - 8 * torch.finfo(prior.dtype).eps
    return torch.tanh(torch.atanh(prior.clamp(-edge, edge)) + g)


def _length(x: Inputs) -> Tensor:
    length = x.flatten(1).square().sum(1).sqrt().clamp(min=torch.finfo(x.dtype).tiny)
    return over_features(length, x)
