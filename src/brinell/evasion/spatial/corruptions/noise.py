"""Corruptions by noise."""

import torch
from torch import Tensor

from brinell.types import Inputs


def gaussian_noise(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    return x + (0.04, 0.06, 0.08, 0.09, 0.10)[level] * _normal(x, rng)


def shot_noise(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    photons = (500, 250, 100, 75, 50)[level]
    return torch.poisson(x * photons, generator=rng) / photons


def impulse_noise(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[level]
    u = torch.rand(x.shape, generator=rng, dtype=x.dtype, device=x.device)
    return torch.where(u < share / 2, 0.0, torch.where(u < share, 1.0, x))


def speckle_noise(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    return x + x * (0.06, 0.1, 0.12, 0.16, 0.2)[level] * _normal(x, rng)


def _normal(x: Inputs, rng: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
