"""Noise that a smoothed classifier adds to its input, and how far the majority under it holds."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from brinell.errors import UsageError

Numbers = NDArray[np.float64]

_INWARD = 1 - 1e-12
"""More than rounding adds to a radius."""


class NoiseDistribution(ABC):
    """order: of the norm in which distances are measured."""

    order: ClassVar[float]

    @abstractmethod
    def draw(self, shape: Sequence[int], like: Tensor, rng: torch.Generator) -> Tensor:
        """Independent noise of this shape, of the type and on the device of `like`."""

    @abstractmethod
    def radius(self, share: Numbers) -> Numbers:
        """Within which distance a class keeps the majority that has at least this share of it here; 0 up to half."""

    @abstractmethod
    def share(self, radius: Numbers) -> Numbers:
        """The share that is needed for a radius; above 1 where none will do."""


@final
@dataclass(frozen=True)
class Gaussian(NoiseDistribution):
    """Normal noise of standard deviation `sigma`, in the units of the input (Cohen et al. 2019, arXiv:1902.02918)."""

    order: ClassVar[float] = 2
    sigma: float

    def __post_init__(self) -> None:
        _check("sigma", self.sigma)

    def draw(self, shape: Sequence[int], like: Tensor, rng: torch.Generator) -> Tensor:
        return self.sigma * torch.randn(shape, dtype=like.dtype, device=like.device, generator=rng)

    def radius(self, share: Numbers) -> Numbers:
        """sigma times the normal quantile of the share (theorem 1, the rest of the votes being the runner-up's)."""
        radius: Numbers = np.maximum(self.sigma * ndtri(share), 0.0) * _INWARD
        return radius

    def share(self, radius: Numbers) -> Numbers:
        return np.asarray(ndtr(np.asarray(radius) / self.sigma))


@final
@dataclass(frozen=True)
class Uniform(NoiseDistribution):
    """Noise from -reach to reach in each value (Yang et al. 2020, arXiv:2002.08118; Lee et al. 2019, arXiv:1906.04948).

    Shifted by d, the cube overlaps itself in all but a share of at most |d|_1 / (2 reach): so many votes may change.
    """

    order: ClassVar[float] = 1
    reach: float

    def __post_init__(self) -> None:
        _check("reach", self.reach)

    def draw(self, shape: Sequence[int], like: Tensor, rng: torch.Generator) -> Tensor:
        return self.reach * (2 * torch.rand(shape, dtype=like.dtype, device=like.device, generator=rng) - 1)

    def radius(self, share: Numbers) -> Numbers:
        return np.maximum(2 * self.reach * (np.asarray(share) - 0.5), 0.0) * _INWARD

    def share(self, radius: Numbers) -> Numbers:
        return 0.5 + np.asarray(radius) / (2 * self.reach)


def _check(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise UsageError(f"{name} is {value}; noise needs a positive number, in the units of the input")
