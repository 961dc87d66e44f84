"""One adversarial patch for many images, wherever it is stuck."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.evasion.hunt import Objective
from brinell.evasion.objective import cross_entropy
from brinell.evasion.physical.rendered import ascend, pull_back
from brinell.targets import Target
from brinell.threat.box import Box
from brinell.threat.goal import met
from brinell.types import Inputs, Labels, Mask

Picture = Float[Tensor, "channels rows columns"]


@final
@dataclass(frozen=True)
class Placement:
    """Where a patch may land: the distribution that an attack takes its expectation over.

    scale: smallest and largest side of the patch, as a share of the image's shorter side. degrees: it is turned by up
    to this much either way. Its centre is uniform over the places where the unturned patch lies within the image.
    disc: the patch is round, so that turning it changes no outline.
    """

    scale: tuple[float, float] = (0.3, 0.5)
    degrees: float = 45.0
    disc: bool = True

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise UsageError(f"scale is {self.scale}; it must be (smallest, largest) within 0 to 1")

    def stick(self, x: Inputs, patch: Picture, rng: torch.Generator) -> Inputs:
        """The patch on each image, at a place, size and angle of its own; differentiable by the patch.

        The operator A(p, x, l, t) of Brown et al. 2017 (arXiv:1712.09665).
        """
        if x.dim() != 4 or patch.shape[:1] != x.shape[1:2]:
            raise UsageError(f"images are {tuple(x.shape[1:])} and the patch {tuple(patch.shape)}; channels must agree")
        u = torch.rand(len(x), 4, generator=rng, dtype=x.dtype, device=x.device)
        rows, columns = x.shape[2], x.shape[3]
        side = (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 0]) * min(rows, columns)
        angle = (2 * u[:, 1] - 1) * self.degrees * pi / 180
        centre_x, centre_y = (u[:, 2] - 0.5) * (columns - side), (u[:, 3] - 0.5) * (rows - side)
        right = torch.arange(columns, dtype=x.dtype, device=x.device) - (columns - 1) / 2
        down = (torch.arange(rows, dtype=x.dtype, device=x.device) - (rows - 1) / 2).unsqueeze(1)
        right, down = right - centre_x.reshape(-1, 1, 1), down - centre_y.reshape(-1, 1, 1)
        cos, sin = angle.cos().reshape(-1, 1, 1), angle.sin().reshape(-1, 1, 1)
        half = side.reshape(-1, 1, 1) / 2
        grid = torch.stack([(cos * right + sin * down) / half, (cos * down - sin * right) / half], -1)
        covered = (grid.square().sum(-1) <= 1) if self.disc else (grid.abs().amax(-1) <= 1)
        seen = functional.grid_sample(
            patch.expand(len(x), -1, -1, -1), grid, padding_mode="border", align_corners=False
        )
        return torch.where(covered.unsqueeze(1), seen, x)


@final
@dataclass(frozen=True)
class AdversarialPatch:
    """One patch for many images, places, sizes and angles (Brown et al. 2017, arXiv:1712.09665).

    steps: gradients of a batch. batch: images a step, each with a placement of its own. rate: Adam's. side: pixels of
    the square patch. The patch is sought as a tanh within the box, so that no step leaves it.
    """

    placement: Placement = Placement()
    steps: int = 300
    batch: int = 32
    rate: float = 0.1
    side: int = 32
    objective: Objective = cross_entropy

    def learn(self, target: Target, x: Inputs, y: Labels, aim: int | None = None, seed: int = 0) -> Picture:
        """A patch from these images: toward the class `aim`, or away from their labels."""
        box = _plain(target.box)
        rng = torch.Generator(x.device).manual_seed(seed)
        if aim is not None:
            x, y = x[y != aim], y[y != aim]

        def gradient(free: Tensor) -> Tensor:
            rows = torch.randint(len(x), (self.batch,), generator=rng, device=x.device)
            aims = None if aim is None else torch.full_like(y[rows], aim)

            def render(free: Tensor) -> Inputs:
                return self.placement.stick(x[rows], _within(free, box), rng)

            return pull_back(target, free, render, self.objective, y[rows], aims)[1]

        start = torch.randn(x.shape[1], self.side, self.side, generator=rng, dtype=x.dtype, device=x.device)
        return _within(ascend(0.1 * start, gradient, self.steps, self.rate), box)


def fooled(
    target: Target,
    x: Inputs,
    y: Labels,
    patch: Picture,
    placement: Placement,
    aim: int | None = None,
    seed: int = 0,
) -> Mask:
    """Whether each image is lost with the patch on it, at one random placement each.

    Ask it of images that the patch was not learnt from. Images labelled as the aim are for the caller to leave out.
    """
    rng = torch.Generator(x.device).manual_seed(seed)
    stuck = placement.stick(x, patch, rng)
    return met(target.scores(stuck), y, None if aim is None else torch.full_like(y, aim))


def sticker_mask(shape: Sequence[int], top: int, left: int, rows: int, columns: int) -> Tensor:
    """A rectangle to be covered, for `Patch`: shape is that of one example, (channels, rows, columns)."""
    mask = torch.zeros(*shape, dtype=torch.bool)
    mask[..., top : top + rows, left : left + columns] = True
    return mask


def _plain(box: Box) -> tuple[float, float]:
    if isinstance(box.low, float) and isinstance(box.high, float) and box.bounded:
        return box.low, box.high
    raise UsageError("the target's box differs from feature to feature or has no end; a patch needs one finite range")


def _within(free: Tensor, box: tuple[float, float]) -> Tensor:
    low, high = box
    return low + (high - low) * (free.tanh() + 1) / 2
