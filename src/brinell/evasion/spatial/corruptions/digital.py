"""Corruptions of what was taken: brightness, contrast, colour, and what storing it does."""

from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.evasion.spatial.corruptions.blur import smooth
from brinell.types import Inputs


def brightness(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """The largest channel grows, hue and saturation stay."""
    value = x.amax(1, keepdim=True)
    brighter = (value + (0.05, 0.1, 0.15, 0.2, 0.3)[level]).clamp(max=1)
    return torch.where(value > 0, x * brighter / torch.where(value > 0, value, 1.0), brighter)


def contrast(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    mean = x.mean((2, 3), keepdim=True)
    return mean + (0.75, 0.5, 0.4, 0.3, 0.15)[level] * (x - mean)


def saturate(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    """Saturation times one number plus another; hue and the largest channel stay, and grey stays grey."""
    times, plus = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))[level]
    value = x.amax(1, keepdim=True)
    saturation = (value - x.amin(1, keepdim=True)) / torch.where(value > 0, value, 1.0)
    wanted = (times * saturation + plus).clamp(0, 1)
    return value - (value - x) * torch.where(saturation > 0, wanted / torch.where(saturation > 0, saturation, 1.0), 1.0)


def elastic(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
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
        grid = grid + 2 * strength * smooth(noise, sigma * rows).movedim(1, -1)
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def pixelate(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[level]
    small = max(int(x.shape[2] * share), 1), max(int(x.shape[3] * share), 1)
    return functional.interpolate(functional.interpolate(x, small, mode="area"), x.shape[2:], mode="area")


def jpeg(x: Inputs, level: int, rng: torch.Generator) -> Inputs:
    return torch.stack([_as_jpeg(image, (80, 65, 58, 50, 40)[level]) for image in x])


def _as_jpeg(image: Tensor, quality: int) -> Tensor:
    if image.shape[0] not in (1, 3):
        raise UsageError(f"an image has {image.shape[0]} channels; JPEG needs 1 or 3")
    bytes_ = (image.cpu().movedim(0, -1).numpy() * 255).round().astype(np.uint8)
    file = BytesIO()
    Image.fromarray(bytes_.squeeze(-1) if image.shape[0] == 1 else bytes_).save(file, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(file), dtype=np.float64) / 255
    return torch.from_numpy(decoded.reshape(*image.shape[1:], -1)).movedim(-1, 0).to(image)
