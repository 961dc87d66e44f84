"""The l2 ball: the whole change may be as long as the radius."""

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from brinell.threat import polytope
from brinell.threat.box import REALS, Box
from brinell.threat.plane import along
from brinell.threat.sets import (
    Bounds,
    Coefficients,
    PerturbationSet,
    ball_extent,
    check_radius,
    interval_hull,
    least_over_box,
    over_features,
)
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class L2(PerturbationSet):
    """{x : |x - x0|_2 <= radius} ∩ box. The projection is exact for a starting point x0 inside the box."""

    name: ClassVar[str] = "l2"
    radius: float
    box: Box = REALS

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def within(self, box: Box) -> "L2":
        return replace(self, box=box)

    def resized(self, radius: float) -> "L2":
        return replace(self, radius=radius)

    def rescaled(self, unit: float) -> "L2":
        return replace(self, radius=self.radius / unit, box=self.box.rescaled(unit))

    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        return _length(x.double() - x0.double())

    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        """Nearest point of ball ∩ box.

        By the KKT conditions it is clamp(x0 + t (x - x0)) for the largest t in [0, 1] that keeps it in the ball.
        The squared length, sum of min(t d, room)^2, is concave and piecewise linear in t^2, so Newton's method from
        the left rises to the root without passing it, in as many steps as there are linear segments on the way (a few).
        """
        return self.project_each(x0, x, self._reach(x0))

    def project_each(self, x0: Inputs, x: Inputs, radii: Scores) -> Inputs:
        move = x - x0
        low, high = self.box.limits(x0)
        room = torch.where(move > 0, high - x0, x0 - low)
        scale = largest_stretch(move.square().flatten(1), room.square().flatten(1), radii.to(x0.dtype).square())
        return self.box.clamp(x0 + over_features(scale.sqrt(), x0) * move)

    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        g = torch.randn(x0.shape, dtype=x0.dtype, device=x0.device, generator=rng)
        u = torch.rand(len(x0), dtype=x0.dtype, device=x0.device, generator=rng)
        features = prod(x0.shape[1:])
        length = min(self.radius, self.box.width * features**0.5) * u ** (1 / features)
        return self.project(x0, x0 + over_features(length, x0) * self.steepest(g))

    def steepest(self, g: Inputs) -> Inputs:
        # Scaled first: the squares of a saturated model's gradients are zero in float32, though they are not.
        largest = g.abs().flatten(1).amax(1)
        g = g / over_features(largest.where(largest > 0, torch.ones_like(largest)), g)
        return g / over_features(_length(g).clamp(min=1), g)

    def toward_plane(self, x: Inputs, w: Inputs, rise: Scores) -> Inputs:
        w = w * over_features(rise.sign(), w)
        low, high = self.box.limits(x)
        t = along(w, w, torch.where(w > 0, high - x, x - low), rise.abs())
        return self.box.clamp(x + over_features(t.to(x.dtype), x) * w)

    def nearest_in(self, x0: Inputs, normals: np.ndarray, offsets: np.ndarray) -> polytope.Nearest:
        flat = x0.detach().cpu().double().flatten().numpy()
        return polytope.nearest_l2(flat, normals, offsets)

    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        return interval_hull(x0, self.radius, self.box)

    def extent(self, x0: Inputs, norm: float) -> Scores:
        return ball_extent(self, 2, x0, norm)

    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        """The better of two bounds: over the ball (Cauchy-Schwarz), and over the interval hull."""
        rows = a.flatten(2)
        over_ball = (rows @ x0.flatten(1).unsqueeze(-1)).squeeze(-1) - self.radius * rows.square().sum(2).sqrt()
        return torch.maximum(over_ball, least_over_box(*self.hull(x0), a))

    def _reach(self, x0: Inputs) -> Tensor:
        """The radius less the rounding error of a point of the ball, one number an example."""
        eps = torch.finfo(x0.dtype).eps
        return (self.radius * (1 - 2 * eps) - eps * _length(x0)).clamp(min=0)


def _length(x: Inputs) -> Scores:
    return x.flatten(1).square().sum(1).sqrt()


def largest_stretch(squares: Tensor, ends: Tensor, target: Tensor) -> Tensor:
    """The largest s <= 1 with sum of min(s * squares, ends) <= target, row by row. All arguments >= 0."""
    s = (target / (squares * (ends > 0)).sum(1)).clamp(max=1).nan_to_num(1.0)
    rising = s < 1
    for _ in range(100):
        if not rising.any():
            break
        scaled = s.unsqueeze(1) * squares
        gap = target - torch.minimum(scaled, ends).sum(1)
        slope = (squares * (scaled < ends)).sum(1)
        step = torch.where(slope > 0, gap / slope, torch.ones_like(s))
        rising = (gap > 0) & (step > torch.finfo(s.dtype).eps * s) & (s < 1)
        s = torch.where(rising, s + step, s).clamp(max=1)
    return s
