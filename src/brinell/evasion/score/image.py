"""Any example as an image: what windows, pixels and cosines are counted on."""

from math import prod

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from brinell.types import Inputs

Image = Float[Tensor, "batch channels height width"]


def as_image(x: Inputs) -> Image:
    """Examples as (channels, height, width); what is not an image is one row of features."""
    match tuple(x.shape[1:]):
        case (int(), height, width) if min(height, width) > 1:
            return x
        case (height, width) if min(height, width) > 1:
            return x.unsqueeze(1)
        case (channels, _, _):
            return x.reshape(len(x), channels, 1, prod(x.shape[2:]))
        case _:
            return x.reshape(len(x), 1, 1, prod(x.shape[1:]))


def tiled(height: int, width: int, tile: int, least: int) -> tuple[int, int]:
    """Rows and columns of tiles of `tile` pixels a side, or smaller ones: the longer side has at least `least`."""
    longer = max(height, width)
    count = min(longer, max(least, round(longer / tile)))
    return max(1, round(height * count / longer)), max(1, round(width * count / longer))


def enlarged(tiles: Image, x: Inputs) -> Inputs:
    """Every pixel with the value of its tile, in the shape of x."""
    return functional.interpolate(tiles, as_image(x).shape[2:], mode="nearest").reshape(x.shape)
