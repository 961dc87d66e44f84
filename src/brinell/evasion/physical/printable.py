"""What a picture costs: roughness that a camera would not resolve, and colours that a printer does not have.

Both are of Sharif et al. 2016 (doi:10.1145/2976749.2978392), as means over what is seen where the paper has sums, so
that a weight means the same at every size.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from brinell.evasion.physical.placement import Picture, Seen


class Penalty(ABC):
    """One number for a picture, that is taken from what an attack maximises."""

    @abstractmethod
    def __call__(self, picture: Picture, seen: Seen) -> Tensor:
        """Differentiable by the picture; what is not seen plays no part."""


@final
@dataclass(frozen=True)
class TotalVariation(Penalty):
    """The length of the difference of each value with those below and to the right of it, where both are seen."""

    weight: float = 1.0

    def __call__(self, picture: Picture, seen: Seen) -> Tensor:
        down = functional.pad(picture.diff(dim=1) * (seen[:, 1:] & seen[:, :-1]), (0, 0, 0, 1))
        right = functional.pad(picture.diff(dim=2) * (seen[:, :, 1:] & seen[:, :, :-1]), (0, 1))
        tiny = torch.finfo(picture.dtype).tiny  # where both are zero the length has no gradient
        return self.weight * (down.square() + right.square() + tiny).sqrt().sum() / seen.sum()


@final
@dataclass(frozen=True)
class NonPrintability(Penalty):
    """The product of a pixel's distances from every colour of the palette: zero where it can be printed.

    palette: the colours that a printer gives, as a camera sees them, each (channel, ...). Products of many distances
    are small; a palette of some ten colours needs a larger weight than one of three.
    """

    palette: tuple[tuple[float, ...], ...]
    weight: float = 1.0

    def __call__(self, picture: Picture, seen: Seen) -> Tensor:
        colours = picture.new_tensor(self.palette)
        pixels = picture.movedim(0, -1)[seen.any(0)]
        apart = torch.linalg.vector_norm(pixels.unsqueeze(1) - colours, dim=2)
        product: Tensor = apart.prod(1)
        return self.weight * product.mean()
