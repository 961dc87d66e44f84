"""Input diversity: the gradient is taken of an image resized and padded at random.

Source: Xie et al. 2019, arXiv:1803.06978, section 3.3.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.evasion.gradient.modifier import Ask, Modifier
from brinell.evasion.hunt import Hunt
from brinell.evasion.score.image import as_image
from brinell.threat.sets import over_features
from brinell.types import Inputs


@final
@dataclass(frozen=True)
class Diverse(Modifier):
    """Resized and padded at random, each example by a draw of its own, new for every gradient.

    chance: of being changed at all, the paper's p. least: the smallest side, as a share of the image's. The paper
    enlarges, from 299 to at most 330 pixels; models take inputs of one size, so here images shrink by the same share,
    bilinear, with zeros around. What is not an image is one row of features.
    """

    chance: float = 0.5
    least: float = 0.9

    def __post_init__(self) -> None:
        if not (0 <= self.chance <= 1 and 0 < self.least <= 1):
            raise UsageError(f"chance is {self.chance} and least {self.least}; give 0 <= chance <= 1, 0 < least <= 1")

    def begin(self, hunt: Hunt, ask: Ask) -> Ask:
        return lambda place: ask(lambda x: self._seen(place(x), hunt.rng))

    def _seen(self, x: Inputs, rng: torch.Generator) -> Inputs:
        chance, size, top, left = torch.rand((4, len(x)), dtype=torch.float64, device=x.device, generator=rng)
        shown = resized(as_image(x), self.least, size, top, left).reshape(x.shape)
        return torch.where(over_features(chance < self.chance, x), shown, x)


def resized(image: Tensor, least: float, size: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Images (batch, channels, rows, columns) shrunk and padded with zeros to the size they had.

    size, top, left: in [0, 1), one an image. The sides go from int(least * side) up to the side, the place over all
    those where the smaller image fits; both are whole numbers of pixels.
    """
    down, inside_rows = _axis(image, 2, least, size, top)
    right, inside_columns = _axis(image, 3, least, size, left)
    rows, columns = image.shape[2:]
    grid = torch.stack([right.unsqueeze(1).expand(-1, rows, -1), down.unsqueeze(2).expand(-1, -1, columns)], -1)
    shown = functional.grid_sample(image, grid.to(image.dtype), padding_mode="border", align_corners=False)
    inside = inside_rows.unsqueeze(2) & inside_columns.unsqueeze(1)
    return torch.where(inside.unsqueeze(1), shown, torch.zeros_like(shown))


def _axis(image: Tensor, axis: int, least: float, size: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """(where in [-1, 1] each place of an axis is read from, whether it lies on the smaller image)."""
    side = image.shape[axis]
    smallest = max(1, int(least * side))
    length = smallest + (size * (side - smallest + 1)).floor()
    first = (start * (side - length + 1)).floor()
    at = torch.arange(side, dtype=size.dtype, device=image.device) - first.unsqueeze(1)
    length = length.unsqueeze(1)
    return 2 * (at + 0.5) / length - 1, (at >= 0) & (at < length)
