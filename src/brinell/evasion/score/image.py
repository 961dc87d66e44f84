"""Any example as an image: what windows, pixels and cosines are counted on."""

from math import prod

from jaxtyping import Float
from torch import Tensor

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
