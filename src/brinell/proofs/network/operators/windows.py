"""Functionals with a small window of an image as support: the patches of auto_LiRPA's "patches mode".

A neuron of a convolution has a small receptive field, so nearly all of its functional's coefficients are zero a few
layers down. As windows they cost their support alone.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from brinell.proofs.network.operators.base import Coefficients, Constants, Linearised


@final
@dataclass(frozen=True, eq=False)
class Windows:
    """Functionals of an image of `channels` and `size`, zero outside a window and where the window overhangs.

    values: `each` functionals have their window at one place, the same places in every example; dense, a functional
    is row place * each + its turn. corner: row and column of a window's first value; it may lie outside the image.
    """

    values: Float[Tensor, " batch places each channels height width"]
    corner: Int64[Tensor, " places 2"]
    size: tuple[int, int]

    def __neg__(self) -> "Windows":
        return self.of(-self.values)

    def of(self, values: Tensor) -> "Windows":
        """Other values in the same windows."""
        return replace(self, values=values)

    def small(self) -> bool:
        """Whether windows cost less than dense functionals."""
        return is_small((self.values.shape[-2], self.values.shape[-1]), self.size)

    def dense(self) -> Coefficients:
        """The same functionals with every coefficient written out."""
        batch, places, each, channels = self.values.shape[:4]
        # Overhanging values, all zero, are added to the first place.
        image = self.values.new_zeros(batch, places, each, channels, self.size[0] * self.size[1])
        where = self.places.reshape(1, places, 1, 1, -1).expand(batch, -1, each, channels, -1)
        image = image.scatter_add(4, where, self.values.flatten(4))
        return image.reshape(batch, places * each, channels, *self.size)

    def seen(self, image: Float[Tensor, " #batch 1 channels high wide"]) -> Tensor:
        """The part of an image in each window, to be broadcast to `values`; arbitrary where a window overhangs."""
        shown = image.flatten(3).squeeze(1)[:, :, self.places].transpose(1, 2)
        return shown.reshape(len(image), len(self.corner), 1, image.shape[2], *self.values.shape[-2:])

    def on(self, image: Float[Tensor, " #batch 1 channels high wide"]) -> Constants:
        """<functional, image>."""
        return (self.values.flatten(3) @ self.seen(image).flatten(3).mT).flatten(1)

    def clipped(self) -> "Windows":
        """With zeros where the window overhangs; written into the values, which the caller has just made."""
        return self.of(self.values.mul_(self._inside().unsqueeze(1).unsqueeze(1)))

    def plus(self, other: "Windows") -> "Windows | Coefficients":
        """The sum: a window around both where they are aligned alike in every place, else dense."""
        shift = other.corner - self.corner
        if len(shift) == 0 or (shift != shift[:1]).any():
            return self.dense() + other.dense()
        before = [max(0, -int(by)) for by in shift[0]]
        after = [
            max(0, int(by) + other.values.shape[i] - self.values.shape[i])
            for i, by in zip((-2, -1), shift[0], strict=True)
        ]
        grown = self._grown(before, after)
        inner = [before[i] + int(shift[0, i]) for i in (0, 1)]
        rest = [grown.values.shape[i - 2] - inner[i] - other.values.shape[i - 2] for i in (0, 1)]
        return grown.of(grown.values + other._grown(inner, rest).values)

    def _grown(self, before: list[int], after: list[int]) -> "Windows":
        values = F.pad(self.values, (before[1], after[1], before[0], after[0]))
        return Windows(values, self.corner - torch.tensor(before), self.size)

    @cached_property
    def places(self) -> Int64[Tensor, " places area"]:
        """Flat positions in the image; 0 for those outside."""
        rows, columns = self._lines()
        places = rows.unsqueeze(-1) * self.size[1] + columns.unsqueeze(-2)
        return (places * self._inside()).flatten(1)

    def _inside(self) -> Bool[Tensor, " places height width"]:
        rows, columns = self._lines()
        inside_rows = (rows >= 0) & (rows < self.size[0])
        inside_columns = (columns >= 0) & (columns < self.size[1])
        return inside_rows.unsqueeze(-1) & inside_columns.unsqueeze(-2)

    def _lines(self) -> tuple[Int64[Tensor, " places height"], Int64[Tensor, " places width"]]:
        height, width = self.values.shape[-2:]
        return self.corner[:, :1] + torch.arange(height), self.corner[:, 1:] + torch.arange(width)


def is_small(window: tuple[int, int], image: tuple[int, ...]) -> bool:
    """Whether a window costs less than the image: looking a value up costs some four times its product."""
    return 4 * window[0] * window[1] <= image[0] * image[1]


class Local(Linearised):
    """A linear relaxation that backward substitution may pass window by window."""

    @abstractmethod
    def backward_windows(self, a: Windows) -> tuple[tuple[Windows, ...], Constants]:
        """What `backward` does, for windows."""

    @abstractmethod
    def reach(self, window: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the window of the input, for a window of the output."""
