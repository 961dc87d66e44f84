"""Where a restart of an ascent begins.

A uniform point of a high-dimensional ball lies deep inside it, and an ascent in small steps from there stays where the
gradient is smooth. What misleads the gradient of a network (thresholds that hide small changes, saturated neurons) is
often crossed by one step between two vertices of the ball: Square begins at vertices whose signs form stripes
(Andriushchenko et al. 2020, arXiv:1912.00049, section 3.1), and Moon et al. 2019 (arXiv:1905.06635, section 3) search
among those that are constant in blocks.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from brinell.arguments import Checked, Count
from brinell.evasion.attack import finite_radius
from brinell.evasion.hunt import Hunt


class StartingPoint(Checked, ABC):
    """Moves a hunt to where one of its restarts begins."""

    @abstractmethod
    def begin(self, hunt: Hunt, restart: int) -> None:
        """Go there. restart: its number, from 0 on."""


@final
@dataclass(frozen=True)
class Vertices(StartingPoint):
    """The projection of a vertex of the box of one radius around x0, of random signs.

    Restarts take turns: signs constant in blocks of about `block` by `block` pixels in each channel, in columns,
    in rows. Inputs that are no images have a sign a feature. Raises UsageError for a block < 1, or where the set has no
    radius.
    """

    block: Count = 4

    def begin(self, hunt: Hunt, restart: int) -> None:
        radius = finite_radius(self, hunt.set)
        hunt.move(hunt.x0 + radius * _signs(hunt, self._coarse(hunt.x0, restart)))

    def _coarse(self, x0: Tensor, restart: int) -> tuple[int, ...]:
        """The shape of the signs that are drawn, for each example: (channels, rows, columns) of an image."""
        if x0.dim() != 4:
            return tuple(x0.shape[1:])
        channels, height, width = x0.shape[1:]
        shapes = (
            (channels, -(-height // self.block), -(-width // self.block)),
            (channels, 1, width),
            (channels, height, 1),
        )
        return shapes[restart % len(shapes)]


def _signs(hunt: Hunt, coarse: tuple[int, ...]) -> Tensor:
    """Random signs of this shape, each repeated over what it stands for."""
    shape = hunt.x0.shape  # (batch, *features)
    drawn = torch.randint(0, 2, (shape[0], *coarse), device=hunt.x0.device, generator=hunt.rng)
    signs = 2 * drawn.to(hunt.x0.dtype) - 1
    for axis, size in enumerate(shape[1:], 1):
        signs = signs.repeat_interleave(-(-size // signs.shape[axis]), axis).narrow(axis, 0, size)
    return signs
