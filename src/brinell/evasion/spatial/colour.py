"""Images that change their colours. They are RGB, in [0, 1]."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.evasion.spatial.transformation import Parameters, Transformation
from brinell.types import Inputs


@final
@dataclass(frozen=True)
class HueSaturation(Transformation):
    """The same hue and saturation shift at every pixel (Hosseini and Poovendran 2018, arXiv:1804.00499).

    Parameters: hue, saturation. hue: what a parameter of 1 means, in turns of the colour circle; 0.5 reaches every hue.
    saturation: likewise, added and held to [0, 1]. The value (the largest channel) stays.
    """

    hue: float = 0.5
    saturation: float = 1.0

    def count(self, shape: tuple[int, ...]) -> int:
        return 2

    def __call__(self, x: Inputs, parameters: Parameters) -> Inputs:
        hue, saturation, value = _hsv(x)
        turn, more = (parameters * parameters.new_tensor([self.hue, self.saturation])).T
        shifted = hue + turn.reshape(-1, 1, 1)
        stronger = (saturation + more.reshape(-1, 1, 1)).clamp(0, 1)
        # Grey has no hue; it stays grey.
        return _rgb(shifted, torch.where(saturation > 0, stronger, saturation), value)


@final
@dataclass(frozen=True)
class Recolour(Transformation):
    """Every colour becomes another, by one smooth function for the whole image.

    After ReColorAdv (Laidlaw and Feizi 2019, arXiv:1906.00001), in RGB where the paper prefers CIELUV, and with
    smoothness by interpolation alone where it adds a penalty. reach: the farthest a channel may move. nodes: the
    function is given at nodes ** 3 colours and interpolated between them.
    """

    reach: float = 0.06
    nodes: int = 4

    def count(self, shape: tuple[int, ...]) -> int:
        return 3 * self.nodes**3

    def __call__(self, x: Inputs, parameters: Parameters) -> Inputs:
        _check(x)
        function = parameters.unflatten(1, (3, self.nodes, self.nodes, self.nodes)) * self.reach
        colours = (2 * x - 1).movedim(1, -1).unsqueeze(1)  # (batch, 1, rows, columns, 3)
        change = functional.grid_sample(function, colours, padding_mode="border", align_corners=True).squeeze(2)
        return x + change


def _check(x: Inputs) -> None:
    if x.dim() != 4 or x.shape[1] != 3:
        raise UsageError(f"an example has shape {tuple(x.shape[1:])}; colours need (3, rows, columns)")


def _hsv(x: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """(hue in turns, saturation, value), each (batch, rows, columns)."""
    _check(x)
    red, green, blue = x.unbind(1)
    value = x.amax(1)
    least = x.amin(1)
    chroma = value - least
    safe = torch.where(chroma > 0, chroma, 1.0)
    sextant = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    return sextant / 6 % 1, chroma / torch.where(value > 0, value, 1.0), value


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Inputs:
    channels = []
    for offset in (5, 3, 1):
        k = (offset + 6 * hue) % 6
        channels.append(value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)
