"""Input diversity: the gradient is taken of an image resized and padded at random.

Source: Xie et al. 2019, arXiv:1803.06978, section 3.3.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from brinell.arguments import Portion, Probability
from brinell.evasion.gradient.modifier import Ask, Modifier
from brinell.evasion.hunt import Hunt
from brinell.evasion.score.image import as_image
from brinell.threat.sets import over_features
from brinell.types import Inputs


@final
@dataclass(frozen=True)
class InputDiversity(Modifier):
    """Resized and padded at random, each example by a draw of its own, new for every gradient.

    chance: of being changed at all, the paper's p. least: the smallest side, as a share of the image's. The paper
    enlarges, from 299 to at most 330 pixels; models take inputs of one size, so here images shrink by the same share,
    bilinear, with zeros around. What is not an image is one row of features.
    """

    chance: Probability = 0.5
    least: Portion = 0.9

    def begin(self, hunt: Hunt, ask: Ask) -> Ask:
        return lambda place: ask(lambda x: self._seen(place(x), hunt.rng))

    def _seen(self, x: Inputs, rng: torch.Generator) -> Inputs:
        chance, size, top, left = torch.rand((4, len(x)), dtype=torch.float64, device=x.device, generator=rng)
        shown = resized(as_image(x), self.least, size, top, left).reshape(x.shape)
        return torch.where(over_features(chance < self.chance, x), shown, x)


def resized(image: Tensor, least: float, size: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Images (batch, channels, rows, columns) shrunk, bilinearly, and padded with zeros to the size they had.

    size, top, left: in [0, 1), one an image. The sides go from int(least * side) up to the side, the place over all
    those where the smaller image fits; both are whole numbers of pixels.
    """
    down = _interpolation(image, 2, least, size, top)
    right = _interpolation(image, 3, least, size, left)
    return down @ image @ right.transpose(2, 3)


def _interpolation(image: Tensor, axis: int, least: float, size: Tensor, start: Tensor) -> Tensor:
    """What each place of an axis is made of, (batch, 1, places, places): bilinear is linear along each axis."""
    side = image.shape[axis]
    smallest = max(1, int(least * side))
    length = smallest + (size * (side - smallest + 1)).floor()
    first = (start * (side - length + 1)).floor()
    places = torch.arange(side, dtype=size.dtype, device=image.device)
    at = places - first.unsqueeze(1)
    length = length.unsqueeze(1)
    read = ((at + 0.5) * side / length - 0.5).clamp(0, side - 1)
    weights = (1 - (read.unsqueeze(2) - places).abs()).clamp(min=0)
    inside = (at >= 0) & (at < length)
    return (weights * inside.unsqueeze(2)).to(image.dtype).unsqueeze(1)
