"""How a picture meets images: anywhere as a patch, or worn in a fixed place and seen in many poses and lights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import pi
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.evasion.spatial.motion import RotateShift
from brinell.types import Inputs

Picture = Float[Tensor, "channels rows columns"]
Seen = Bool[Tensor, "channels rows columns"]


class Placement(ABC):
    """The distribution that an attack takes its expectation over: where a picture is, and how it is looked at."""

    @abstractmethod
    def seen(self, x: Inputs) -> Seen:
        """Which values of a picture for such images can show at all; its shape is the picture's."""

    @abstractmethod
    def stick(self, x: Inputs, picture: Picture, rng: torch.Generator) -> Inputs:
        """Each image with the picture in it, by its own draw, maybe out of the box; differentiable by the picture."""


@final
@dataclass(frozen=True)
class Anywhere(Placement):
    """A patch at a random place, size and angle: the operator A(p, x, l, t) of Brown et al. 2017 (arXiv:1712.09665).

    scale: smallest and largest side of the patch, as a share of the image's shorter side. degrees: it is turned by up
    to this much either way. Its centre is uniform over the places where the unturned patch lies within the image.
    disc: the patch is round, so that turning it changes no outline. side: pixels of the square picture.
    """

    scale: tuple[float, float] = (0.3, 0.5)
    degrees: float = 45.0
    disc: bool = True
    side: int = 32

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise UsageError(f"scale is {self.scale}; it must be (smallest, largest) within 0 to 1")

    def seen(self, x: Inputs) -> Seen:
        across = (torch.arange(self.side, device=x.device) + 0.5) * 2 / self.side - 1
        return self._covered(torch.stack(torch.meshgrid(across, across, indexing="ij"), -1)).expand(x.shape[1], -1, -1)

    def stick(self, x: Inputs, picture: Picture, rng: torch.Generator) -> Inputs:
        if x.dim() != 4 or picture.shape[:1] != x.shape[1:2]:
            raise UsageError(
                f"images are {tuple(x.shape[1:])} and the patch {tuple(picture.shape)}; channels must agree"
            )
        u = torch.rand(len(x), 4, generator=rng, dtype=x.dtype, device=x.device)
        rows = x.shape[2]
        columns = x.shape[3]
        side = (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 0]) * min(rows, columns)
        angle = (2 * u[:, 1] - 1) * self.degrees * pi / 180
        centre_x = (u[:, 2] - 0.5) * (columns - side)
        centre_y = (u[:, 3] - 0.5) * (rows - side)
        right = torch.arange(columns, dtype=x.dtype, device=x.device) - (columns - 1) / 2
        down = (torch.arange(rows, dtype=x.dtype, device=x.device) - (rows - 1) / 2).unsqueeze(1)
        right = right - centre_x.reshape(-1, 1, 1)
        down = down - centre_y.reshape(-1, 1, 1)
        cos = angle.cos().reshape(-1, 1, 1)
        sin = angle.sin().reshape(-1, 1, 1)
        half = side.reshape(-1, 1, 1) / 2
        grid = torch.stack([(cos * right + sin * down) / half, (cos * down - sin * right) / half], -1)
        shown = functional.grid_sample(
            picture.expand(len(x), -1, -1, -1), grid, padding_mode="border", align_corners=False
        )
        return torch.where(self._covered(grid).unsqueeze(1), shown, x)

    def _covered(self, places: Float[Tensor, "*places 2"]) -> Bool[Tensor, "*places"]:
        """Whether the patch is there: it reaches from -1 to 1 in both directions."""
        return (places.square().sum(-1) <= 1) if self.disc else (places.abs().amax(-1) <= 1)


@final
@dataclass(frozen=True)
class View:
    """How a photograph is taken: the pose and the light that an attack in the world has to survive.

    degrees, pixels: the image is turned and shifted by up to this much either way. light: every value is multiplied by
    up to this much more or less, half of it the same everywhere and half of it growing from one side to the other.
    """

    degrees: float = 8.0
    pixels: float = 3.0
    light: float = 0.3

    def __call__(self, x: Inputs, rng: torch.Generator) -> Inputs:
        """Each image in a view of its own; differentiable by it."""
        u = 2 * torch.rand(len(x), 5, generator=rng, dtype=x.dtype, device=x.device) - 1
        across = torch.linspace(-1, 1, x.shape[3], dtype=x.dtype, device=x.device)
        light = 1 + self.light * (u[:, 3:4] + u[:, 4:] * across) / 2
        return RotateShift(self.degrees, self.pixels)(x, u[:, :3]) * light.reshape(len(x), 1, 1, -1)


@final
@dataclass(frozen=True, eq=False)
class Worn(Placement):
    """A picture that covers the same place of every image, such as a frame of eyeglasses, seen in many views.

    mask: true where it covers; the shape of one image, or one that broadcasts to it.
    """

    mask: Bool[Tensor, "*shape"]
    view: View = View()

    def seen(self, x: Inputs) -> Seen:
        return self.mask.to(x.device).expand(x.shape[1:])

    def stick(self, x: Inputs, picture: Picture, rng: torch.Generator) -> Inputs:
        return self.view(torch.where(self.seen(x), picture, x), rng)
