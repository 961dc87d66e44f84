"""Places that something covers: rectangles and eyeglasses."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor


def eyeglass_mask(
    shape: Sequence[int], left: tuple[float, float], right: tuple[float, float], thickness: float = 0.17
) -> Bool[Tensor, "*shape"]:
    """A frame for faces of this shape (channels, rows, columns): two rims, the bridge, and the temples to the edges.

    left, right: (row, column) of the eyes, in pixels. thickness: of the frame, as a share of their distance.
    """
    rows = torch.arange(shape[-2], dtype=torch.float64).unsqueeze(1)
    columns = torch.arange(shape[-1], dtype=torch.float64)
    apart = right[1] - left[1]
    broad = thickness * (right[1] - left[1])
    frame = torch.zeros(shape[-2], shape[-1], dtype=torch.bool)
    for row, column in (left, right):
        away = (((rows - row) / 0.75).square() + (columns - column).square()).sqrt()
        frame |= (away - 0.4 * apart).abs() <= broad / 2
    slope = (right[0] - left[0]) / apart
    bar = (rows - left[0] - slope * (columns - left[1])).abs() <= broad / 2
    inner = 0.4 * apart - broad / 2
    outer = 0.4 * apart + broad / 2
    bridge = (columns >= left[1] + inner) & (columns <= right[1] - inner)
    temples = (columns <= left[1] - outer) | (columns >= right[1] + outer)
    return (frame | (bar & (bridge | temples))).expand(*shape).clone()


def sticker_mask(shape: Sequence[int], top: int, left: int, rows: int, columns: int) -> Bool[Tensor, "*shape"]:
    """A rectangle to be covered, for `Patch`: shape is that of one example, (channels, rows, columns)."""
    mask = torch.zeros(*shape, dtype=torch.bool)
    mask[..., top : top + rows, left : left + columns] = True
    return mask
