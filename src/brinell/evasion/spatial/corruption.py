"""Natural corruptions at five severities (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Images are (channels, rows, columns) in [0, 1]. The severities are those of CIFAR-10-C; the kinds those of the benchmark
that need no photographs of frost and no library of filters. Blurs, JPEG and noise follow the definitions and not the
libraries of the authors, so figures are near theirs and not equal. This is what a model meets without an adversary: it
gives an accuracy and no verdict.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.targets import Target
from brinell.types import Inputs, Labels


def corrupt(x: Inputs, kind: str, severity: int, seed: int = 0) -> Inputs:
    """Images after one corruption. kind: a key of CORRUPTIONS. severity: 1 to 5."""
    if kind not in CORRUPTIONS:
        raise UsageError(f"corruption is {kind!r}; it must be one of {', '.join(CORRUPTIONS)}")
    if severity not in (1, 2, 3, 4, 5):
        raise UsageError(f"severity is {severity}; it must be 1 to 5")
    if x.dim() != 4:
        raise UsageError(f"an example has shape {tuple(x.shape[1:])}; corruptions need (channels, rows, columns)")
    return CORRUPTIONS[kind](x, severity - 1, torch.Generator(x.device).manual_seed(seed)).clamp(0, 1)


def corrupted_accuracy(target: Target, x: Inputs, y: Labels, seed: int = 0) -> dict[str, list[float]]:
    """Accuracy on these images under each corruption, at severities 1 to 5."""
    return {
        kind: [float((target.labels(corrupt(x, kind, s, seed)) == y).float().mean()) for s in range(1, 6)]
        for kind in CORRUPTIONS
    }


def _gaussian_noise(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    return x + (0.04, 0.06, 0.08, 0.09, 0.10)[level] * _normal(x, rng)


def _shot_noise(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    photons = (500, 250, 100, 75, 50)[level]
    return torch.poisson(x * photons, generator=rng) / photons


def _impulse_noise(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[level]
    u = torch.rand(x.shape, generator=rng, dtype=x.dtype, device=x.device)
    return torch.where(u < share / 2, 0.0, torch.where(u < share, 1.0, x))


def _speckle_noise(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    return x + x * (0.06, 0.1, 0.12, 0.16, 0.2)[level] * _normal(x, rng)


def _gaussian_blur(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    return _smooth(x, (0.4, 0.6, 0.7, 0.8, 1.0)[level])


def _zoom_blur(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    most = (1.06, 1.11, 1.16, 1.21, 1.26)[level]
    zooms = torch.arange(1, most, 0.01).tolist()
    return (x + sum((_zoom(x, zoom) for zoom in zooms), torch.zeros_like(x))) / (len(zooms) + 1)


def _brightness(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """The largest channel grows, hue and saturation stay."""
    value = x.amax(1, keepdim=True)
    brighter = (value + (0.05, 0.1, 0.15, 0.2, 0.3)[level]).clamp(max=1)
    return torch.where(value > 0, x * brighter / torch.where(value > 0, value, 1.0), brighter)


def _contrast(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    mean = x.mean((2, 3), keepdim=True)
    return mean + (0.75, 0.5, 0.4, 0.3, 0.15)[level] * (x - mean)


def _saturate(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """Saturation times one number plus another; hue and the largest channel stay, and grey stays grey."""
    times, plus = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))[level]
    value = x.amax(1, keepdim=True)
    saturation = (value - x.amin(1, keepdim=True)) / torch.where(value > 0, value, 1.0)
    wanted = (times * saturation + plus).clamp(0, 1)
    return value - (value - x) * torch.where(saturation > 0, wanted / torch.where(saturation > 0, saturation, 1.0), 1.0)


def _pixelate(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[level]
    small = max(int(x.shape[2] * share), 1), max(int(x.shape[3] * share), 1)
    return functional.interpolate(functional.interpolate(x, small, mode="area"), x.shape[2:], mode="area")


def _jpeg(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    return torch.stack([_as_jpeg(image, (80, 65, 58, 50, 40)[level]) for image in x])


def _elastic(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """A random affine map, then a smooth random flow."""
    strength, sigma, affine = ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05),
                               (0.1, 0.03, 0.03))[level]  # fmt: skip
    rows, columns = x.shape[2:]
    uniform = 2 * torch.rand(len(x), 2, 3, generator=rng, dtype=x.dtype, device=x.device) - 1
    # CIFAR-10-C moves three points, a third of the side from the middle, by up to this share of the side.
    maps = torch.eye(2, 3, dtype=x.dtype, device=x.device) + uniform * affine * x.new_tensor([3.0, 3.0, 2.0]) / 2
    grid = functional.affine_grid(maps, list(x.shape), align_corners=False)
    if strength:
        noise = 2 * torch.rand(len(x), 2, rows, columns, generator=rng, dtype=x.dtype, device=x.device) - 1
        grid = grid + 2 * strength * _smooth(noise, sigma * rows).movedim(1, -1)
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


CORRUPTIONS: dict[str, Callable[[Inputs, int, torch.Generator], Inputs]] = {
    "gaussian noise": _gaussian_noise,
    "shot noise": _shot_noise,
    "impulse noise": _impulse_noise,
    "speckle noise": _speckle_noise,
    "gaussian blur": _gaussian_blur,
    "zoom blur": _zoom_blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturate": _saturate,
    "elastic": _elastic,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
}
"""Each corruption by its name: (images, severity - 1, generator) -> images."""


def _normal(x: Inputs, rng: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)


def _smooth(x: Inputs, sigma: float) -> Inputs:
    smoothed = gaussian_filter(x.cpu().numpy(), sigma=(0, 0, sigma, sigma), mode="reflect")
    return torch.from_numpy(smoothed).to(x)


def _zoom(x: Inputs, factor: float) -> Inputs:
    """The middle of each image, enlarged."""
    maps = x.new_tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]]).expand(len(x), -1, -1)
    grid = functional.affine_grid(maps, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _as_jpeg(image: Tensor, quality: int) -> Tensor:
    if image.shape[0] not in (1, 3):
        raise UsageError(f"an image has {image.shape[0]} channels; JPEG needs 1 or 3")
    bytes_ = (image.cpu().movedim(0, -1).numpy() * 255).round().astype(np.uint8)
    file = BytesIO()
    Image.fromarray(bytes_.squeeze(-1) if image.shape[0] == 1 else bytes_).save(file, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(file), dtype=np.float64) / 255
    return torch.from_numpy(decoded.reshape(*image.shape[1:], -1)).movedim(-1, 0).to(image)
