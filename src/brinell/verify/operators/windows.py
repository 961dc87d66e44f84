"""Functionals that look at a small window of an image: what a neuron of a convolution sees, and no more.

A convolution has few weights a neuron and many neurons, so nearly all of a functional's coefficients are zero a
few layers down. Kept as windows they cost what they hold; auto_LiRPA's "patches mode" rests on the same remark.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from brinell.verify.operators.base import Coefficients, Constants, Linearised


@final
@dataclass(frozen=True, eq=False)
class Windows:
    """Functionals of an image of `channels` and `size`, zero outside a window and where the window overhangs.

    corner: row and column of the window's first value; it may lie outside the image.
    """

    values: Float[Tensor, " batch rows channels height width"]
    corner: Int64[Tensor, " batch rows 2"]
    size: tuple[int, int]

    def small(self) -> bool:
        """Whether they are cheaper than written out."""
        return is_small((self.values.shape[-2], self.values.shape[-1]), self.size)

    def dense(self) -> Coefficients:
        """The same functionals with every coefficient written out."""
        batch, rows, channels = self.values.shape[:3]
        area = self.size[0] * self.size[1]
        # Overhanging values, all zero, are added to the first place.
        image = self.values.new_zeros(batch, rows, channels, area)
        places = self.places.unsqueeze(2).expand(-1, -1, channels, -1)
        return image.scatter_add(3, places, self.values.flatten(3)).reshape(batch, rows, channels, *self.size)

    def seen(self, image: Float[Tensor, " batch #rows channels high wide"]) -> Tensor:
        """The part of an image that each window shows, in the shape of `values`; anything where it overhangs."""
        batch, rows, channels = self.values.shape[:3]
        area = self.size[0] * self.size[1]
        if image.shape[1] > 1:
            places = self.places.unsqueeze(2).expand(-1, -1, channels, -1)
            return image.flatten(3).gather(3, places).reshape(self.values.shape)
        # Many neurons look at one place: what it shows is found once, and copied.
        first, which = self._distinct
        example = torch.arange(batch).repeat_interleave(rows)[first] if len(image) > 1 else torch.zeros_like(first)
        start = area * (channels * example.unsqueeze(1) + torch.arange(channels))
        places = start.unsqueeze(2) + self.places.flatten(0, 1)[first].unsqueeze(1)
        return image.flatten().take(places)[which].reshape(self.values.shape)

    @cached_property
    def _distinct(self) -> tuple[Int64[Tensor, " distinct"], Int64[Tensor, " all"]]:
        """A row for each place that some example's windows have, and for each row the one it shares its place with."""
        batch, rows = self.corner.shape[:2]
        down, right = (self.corner[..., i] - self.corner[..., i].min() for i in (0, 1))
        example = torch.arange(batch).unsqueeze(1)
        key = (example * (1 + down.max()) + down) * (1 + right.max()) + right
        found, which = key.flatten().unique(return_inverse=True)
        return torch.empty_like(found).scatter(0, which, torch.arange(batch * rows)), which

    def clipped(self) -> "Windows":
        """With zeros where the window overhangs."""
        return Windows(self.values * self._inside().unsqueeze(2), self.corner, self.size)

    def plus(self, other: "Windows") -> "Windows | Coefficients":
        """The sum: one window around both where they lie alike in every row, else written out."""
        shift = (other.corner - self.corner).flatten(0, 1)
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
        return Windows(grown.values + other._grown(inner, rest).values, grown.corner, self.size)

    def _grown(self, before: list[int], after: list[int]) -> "Windows":
        values = F.pad(self.values, (before[1], after[1], before[0], after[0]))
        return Windows(values, self.corner - torch.tensor(before), self.size)

    @cached_property
    def places(self) -> Int64[Tensor, " batch rows area"]:
        """Flat positions in the image; 0 for those outside."""
        rows, columns = self._lines()
        places = rows.unsqueeze(-1) * self.size[1] + columns.unsqueeze(-2)
        return (places * self._inside()).flatten(2)

    def _inside(self) -> Bool[Tensor, " batch rows height width"]:
        rows, columns = self._lines()
        inside_rows = (rows >= 0) & (rows < self.size[0])
        inside_columns = (columns >= 0) & (columns < self.size[1])
        return inside_rows.unsqueeze(-1) & inside_columns.unsqueeze(-2)

    def _lines(self) -> tuple[Int64[Tensor, " batch rows height"], Int64[Tensor, " batch rows width"]]:
        height, width = self.values.shape[-2:]
        return self.corner[..., :1] + torch.arange(height), self.corner[..., 1:] + torch.arange(width)


def is_small(window: tuple[int, int], image: tuple[int, ...]) -> bool:
    """Whether a window is cheaper than the image: finding a value costs some four times its product."""
    return 4 * window[0] * window[1] <= image[0] * image[1]


class Local(Linearised):
    """A linear bound that can be carried back window by window."""

    @abstractmethod
    def backward_windows(self, a: Windows) -> tuple[tuple[Windows, ...], Constants]:
        """What `backward` does, for windows."""

    @abstractmethod
    def reach(self, window: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what such a window is carried back to."""
