"""SimBA: one direction of an orthonormal basis at a time, forward or else backward, kept where the score gives way.

Source: Guo et al. 2019, arXiv:1905.07121, algorithm 1; section 3 has the two bases.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import pi, prod
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brinell.arguments import Checked, Count, Positive
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import cross_entropy
from brinell.evasion.score.image import as_image
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores


class Basis(Checked, ABC):
    """Orthonormal directions, numbered from zero."""

    @abstractmethod
    def count(self, x: Inputs) -> int:
        """How many directions there are for inputs like x."""

    @abstractmethod
    def directions(self, index: Int64[Tensor, " batch"], x: Inputs) -> Inputs:
        """The direction of this number for each example, of l2 length 1, in the shape of x."""


@final
@dataclass(frozen=True)
class Standard(Basis):
    """One feature each."""

    def count(self, x: Inputs) -> int:
        return prod(x.shape[1:])

    def directions(self, index: Int64[Tensor, " batch"], x: Inputs) -> Inputs:
        return torch.zeros_like(x).flatten(1).scatter(1, index.unsqueeze(1), 1.0).reshape(x.shape)


@final
@dataclass(frozen=True)
class Cosines(Basis):
    """The cosine transform (type II) of each channel; its lowest `frequencies` along each side."""

    frequencies: Count = 28

    def count(self, x: Inputs) -> int:
        channels, high, wide = self._kept(x)
        return channels * high * wide

    def directions(self, index: Int64[Tensor, " batch"], x: Inputs) -> Inputs:
        _, high, wide = self._kept(x)
        n, channels, height, width = as_image(x).shape
        channel = index // (high * wide)
        down = index // wide % high
        across = index % wide
        wave = torch.einsum("bh,bw->bhw", cosines(height, x)[down], cosines(width, x)[across])
        image = x.new_zeros((n, channels, height, width))
        image[torch.arange(n, device=x.device), channel] = wave
        return image.reshape(x.shape)

    def _kept(self, x: Inputs) -> tuple[int, int, int]:
        _, channels, height, width = as_image(x).shape
        return channels, min(self.frequencies, height), min(self.frequencies, width)


def cosines(size: int, like: Tensor) -> Float[Tensor, "frequencies places"]:
    """The orthonormal cosine transform of `size` places, one frequency a row, the lowest first."""
    places = torch.arange(size, dtype=like.dtype, device=like.device)
    waves: Tensor = torch.cos(pi / size * torch.outer(places, places + 0.5)) * (2 / size) ** 0.5
    waves[0] /= 2**0.5
    return waves


@final
@dataclass(frozen=True)
class SimBA(Attack):
    """Simple black-box attack (Guo et al. 2019), for every set by projection.

    queries: per example. basis: the directions, tried in a random order of each example's own, and from
    the start again when all were tried. step: the length of a change, in widths of the box (the paper's epsilon). Each
    example asks one point a round and moves on by its own answer, so it pays what the paper counts: one query where
    forward helped, two elsewhere.
    """

    queries: Count = 5000
    basis: Basis = Standard()
    step: Positive = 0.2
    objective: Objective = cross_entropy
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        finite_radius(self, hunt.set)
        hunt.begin()
        state = hunt.carry(_State.start(hunt, self.basis.count(hunt.x), self.objective))

        for _ in hunt.steps(self.queries):
            index = state.order.gather(1, (state.place % state.order.shape[1]).unsqueeze(1)).squeeze(1)
            move = self.step * over_features(state.sign, hunt.x0) * self.basis.directions(index, hunt.x0)
            hunt.move(state.x + move)
            value = hunt.value(self.objective)
            better = value > state.value
            state.x = torch.where(over_features(better, hunt.x), hunt.x, state.x)
            state.value = torch.where(better, value, state.value)
            state.place = state.place + (better | (state.sign < 0))
            state.sign = torch.where(better | (state.sign < 0), 1.0, -1.0).to(state.sign.dtype)


@dataclass
class _State:
    """The best point and its value; the order of directions, the place in it, and which way is tried next."""

    x: Inputs
    value: Scores
    order: Int64[Tensor, "batch directions"]
    place: Int64[Tensor, " batch"]
    sign: Scores

    @classmethod
    def start(cls, hunt: Hunt, count: int, objective: Objective) -> "_State":
        n = len(hunt)
        x = hunt.x
        chance = torch.rand((n, count), device=x.device, generator=hunt.rng)
        value = x.new_zeros(0) if hunt.clean is None else objective(hunt.clean, hunt.y, hunt.aim)
        return cls(x, value, chance.argsort(1), torch.zeros(n, dtype=torch.int64, device=x.device), x.new_ones(n))
