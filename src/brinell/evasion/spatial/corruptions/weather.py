"""Corruptions by weather: things between the camera and what it looks at."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import binary_erosion, correlate, distance_transform_edt, uniform_filter
from torch import Tensor

from brinell.evasion.spatial.corruptions.blur import smear, smooth, zoom
from brinell.types import Inputs

Layer = Float[Tensor, "batch 1 rows columns"]

_TURQUOISE = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)
_ICE = (0.86, 0.93, 1.0)


def fog(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    thick, decay = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[level]
    brightest = x.flatten(1).amax(1).reshape(-1, 1, 1, 1)
    return (x + thick * plasma(x, decay, rng)) * brightest / (brightest + thick)


def frost(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """Ridges of plasma, as bright as ice. The published frost is six photographs; this one is drawn."""
    clear, white = ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[level]
    veil = plasma(x, 2.0, rng)
    ridges = 1 - (2 * plasma(x, 1.7, rng) - 1).abs()
    crystals = 0.35 + 0.4 * veil + 0.6 * ridges**6
    return clear * x + white * crystals.clamp(0, 1) * _colour(_ICE, x)


def snow(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """Flakes of enlarged noise that fall, and all else whitened."""
    mean, spread, size, least, radius, sigma, share = (
        (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
        (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
    )[level]
    flakes = zoom(_noise(x, mean, spread, rng), size)
    flakes = torch.where(flakes < least, 0.0, flakes).clamp(0, 1)
    falling = 45 + 90 * torch.rand(len(x), generator=rng, dtype=x.dtype, device=x.device)
    flakes = smear(flakes, radius, sigma, falling)
    whitened = torch.maximum(x, 1.5 * _grey(x) + 0.5)
    return share * x + (1 - share) * whitened + flakes + flakes.rot90(2, (2, 3))


def spatter(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """Drops of water on the lens (severity 1 to 3), then of mud."""
    mean, spread, sigma, least, last, mud = (
        (0.62, 0.1, 0.7, 0.7, 0.5, False),
        (0.65, 0.1, 0.8, 0.7, 0.5, False),
        (0.65, 0.3, 1.0, 0.69, 0.5, False),
        (0.65, 0.1, 0.7, 0.69, 0.6, True),
        (0.65, 0.1, 0.5, 0.68, 0.6, True),
    )[level]
    liquid = smooth(_noise(x, mean, spread, rng), sigma)
    liquid = torch.where(liquid < least, 0.0, liquid)
    if mud:
        drops = smooth((liquid > least).to(x.dtype), last)
        drops = torch.where(drops < 0.8, 0.0, drops)
        return x * (1 - drops) + drops * _colour(_MUD, x)
    bright = torch.stack([_lit(layer) for layer in liquid])
    bright = bright / bright.flatten(1).amax(1).clamp(min=1e-12).reshape(-1, 1, 1, 1)
    return x + last * bright * _colour(_TURQUOISE, x)


def plasma(x: Inputs, decay: float, rng: torch.Generator) -> Layer:
    """Clouds from 0 to 1 by the diamond-square algorithm on a torus: the disorder falls by decay ** 2 a level."""
    size = 1 << (max(x.shape[2:]) - 1).bit_length()
    clouds = x.new_zeros(len(x), size, size)
    wobble = 100.0
    step = size

    def around(corners: Tensor) -> Tensor:
        u = torch.rand(corners.shape, generator=rng, dtype=x.dtype, device=x.device)
        return corners / 4 + wobble**2 * (2 * u - 1)

    while step >= 2:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        beside = corners + corners.roll(-1, 2)
        below = corners + corners.roll(-1, 1)
        clouds[:, half::step, half::step] = around(beside + beside.roll(-1, 1))
        centres = clouds[:, half::step, half::step]
        clouds[:, ::step, half::step] = around(beside + centres + centres.roll(1, 1))
        clouds[:, half::step, ::step] = around(below + centres + centres.roll(1, 2))
        step = half
        wobble = wobble / decay
    low, high = clouds.flatten(1).aminmax(dim=1)
    clouds = (clouds - low.reshape(-1, 1, 1)) / (high - low).clamp(min=1e-12).reshape(-1, 1, 1)
    return clouds[:, None, : x.shape[2], : x.shape[3]]


def _lit(liquid: Float[Tensor, "1 rows columns"]) -> Float[Tensor, "1 rows columns"]:
    """How bright drops are, by their depth and by light from one side.

    Their outline is taken from a threshold; the published code finds it by an edge detector.
    """
    drops = liquid.squeeze(0).cpu().numpy() > 0
    edge = drops & ~binary_erosion(drops)
    depth = uniform_filter(np.minimum(distance_transform_edt(~edge) if edge.any() else 20.0 * np.ones(drops.shape), 20))
    ranks = np.searchsorted(np.sort(depth, axis=None), depth, side="right") / depth.size
    relief = correlate(255 * ranks, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])).clip(0, 255)
    return liquid * torch.from_numpy(uniform_filter(relief)).to(liquid)


def _noise(x: Inputs, mean: float, spread: float, rng: torch.Generator) -> Layer:
    return mean + spread * torch.randn(x[:, :1].shape, generator=rng, dtype=x.dtype, device=x.device)


def _grey(x: Inputs) -> Layer:
    weights = x.new_tensor([0.299, 0.587, 0.114]) if x.shape[1] == 3 else x.new_ones(x.shape[1]) / x.shape[1]
    return (x * weights.reshape(-1, 1, 1)).sum(1, keepdim=True)


def _colour(rgb: tuple[float, float, float], x: Inputs) -> Float[Tensor, "1 channels 1 1"]:
    """A colour for images that have colours, and how bright it is for others."""
    colour = x.new_tensor(rgb).reshape(1, 3, 1, 1)
    return colour if x.shape[1] == 3 else _grey(colour)
