"""Corruptions by blur, and the pieces of blur that others need."""

from math import pi

import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from brinell.types import Inputs


def gaussian_blur(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    return smooth(x, (0.4, 0.6, 0.7, 0.8, 1.0)[level])


def defocus_blur(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """A disc of some radius, its edge softened by three by three values of a Gaussian."""
    radius, soft = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))[level]
    reach = int(radius) + 1  # and one more for its edge
    at = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    disc = (at.square() + at.square().unsqueeze(1) <= radius**2).to(x.dtype)
    edge = torch.exp(-at.new_tensor([-1.0, 0.0, 1.0]).square() / (2 * soft**2))
    edge = edge / edge.sum()
    kernel = functional.conv2d((disc / disc.sum())[None, None], torch.outer(edge, edge)[None, None], padding=1)
    padded = functional.pad(x, (reach,) * 4, mode="reflect")
    return functional.conv2d(padded.flatten(0, 1).unsqueeze(1), kernel).reshape(x.shape)


def glass_blur(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """Smoothed, every pixel exchanged with a neighbour, smoothed again.

    The published code means to swap two pixels and copies one over the other; so it does here, because the published
    images are made so.
    """
    sigma, rounds = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))[level]
    x = smooth(x, sigma)
    n, _, rows, columns = x.shape
    down = torch.arange(rows, device=x.device).reshape(1, -1, 1)
    right = torch.arange(columns, device=x.device).reshape(1, 1, -1)
    inner = (down >= 2) & (right >= 2)
    each = torch.arange(n, device=x.device).reshape(-1, 1, 1)
    for _ in range(rounds):
        back = torch.randint(0, 2, (2, n, rows, columns), generator=rng, device=x.device) * inner
        x = x[each, :, down - back[0], right - back[1]].movedim(-1, 1)
    return smooth(x, sigma)


def motion_blur(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    radius, sigma = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))[level]
    return smear(x, radius, sigma, _uniform(x, -45, 45, rng))


def zoom_blur(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    most = (1.06, 1.11, 1.16, 1.21, 1.26)[level]
    zooms = torch.arange(1, most, 0.01).tolist()
    return (x + sum((zoom(x, factor) for factor in zooms), torch.zeros_like(x))) / (len(zooms) + 1)


def smooth(x: Inputs, sigma: float) -> Inputs:
    """A Gaussian of this standard deviation, in pixels."""
    smoothed = gaussian_filter(x.cpu().numpy(), sigma=(0, 0, sigma, sigma), mode="reflect")
    return torch.from_numpy(smoothed).to(x)


def smear(x: Inputs, radius: int, sigma: float, degrees: Float[Tensor, " batch"]) -> Inputs:
    """Each image and its shadows along a line, fainter with the distance as half a Gaussian is, up to 2 * radius."""
    angle = degrees * pi / 180
    away = torch.arange(2 * radius + 1, dtype=x.dtype, device=x.device)
    weights = torch.exp(-away.square() / (2 * sigma**2))
    still = _read(x, x.new_zeros(len(x), 2), 1.0)
    step = torch.stack([angle.cos(), angle.sin()], 1).to(x)
    shadows = [weight * _read(x, far * step, 1.0) for far, weight in zip(away[1:], weights[1:], strict=True)]
    return (weights[0] * still + sum(shadows, torch.zeros_like(x))) / weights.sum()


def zoom(x: Inputs, factor: float) -> Inputs:
    """The middle of each image, enlarged."""
    return _read(x, x.new_zeros(len(x), 2), factor)


def _read(x: Inputs, shift: Float[Tensor, "batch 2"], factor: float) -> Inputs:
    """Images enlarged by a factor about their middle, read (right, down) pixels away."""
    scale = torch.eye(2, dtype=x.dtype, device=x.device).expand(len(x), -1, -1) / factor
    shift = 2 * shift / x.new_tensor([x.shape[3], x.shape[2]])
    grid = functional.affine_grid(torch.cat([scale, shift.unsqueeze(2)], 2), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _uniform(x: Inputs, low: float, high: float, rng: torch.Generator) -> Float[Tensor, " batch"]:
    return low + (high - low) * torch.rand(len(x), generator=rng, dtype=x.dtype, device=x.device)
