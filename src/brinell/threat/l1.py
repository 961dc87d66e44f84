"""The l1 ball: the changes of all values may add up to the radius."""

from dataclasses import dataclass, replace
from math import inf, prod
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from brinell.threat import polytope
from brinell.threat.box import REALS, Box
from brinell.threat.plane import greedy
from brinell.threat.sets import (
    Bounds,
    Coefficients,
    PerturbationSet,
    ball_extent,
    check_radius,
    interval_hull,
    least_over_box,
    over_features,
    strongest,
)
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class L1(PerturbationSet):
    """{x : |x - x0|_1 <= radius} ∩ box. The projection is exact for a starting point x0 inside the box."""

    name: ClassVar[str] = "l1"
    pointed: ClassVar[bool] = True
    radius: float
    box: Box = REALS

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def within(self, box: Box) -> "L1":
        return replace(self, box=box)

    def resized(self, radius: float) -> "L1":
        return replace(self, radius=radius)

    def rescaled(self, unit: float) -> "L1":
        return replace(self, radius=self.radius / unit, box=self.box.rescaled(unit))

    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        return (x.double() - x0.double()).abs().flatten(1).sum(1)

    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        """Nearest point of ball ∩ box.

        By the KKT conditions every value moves from x0 toward x by min(max(|x - x0| - threshold, 0), room), for the
        least threshold that keeps the sum within the radius. Each value is then rounded toward x0.
        """
        if self.radius == inf:
            return self.box.clamp(x)
        features = x0[0].numel() if len(x0) else 0
        reach = self._reach(features)
        return self.project_each(x0, x, torch.full((len(x0),), reach, dtype=torch.float64, device=x0.device))

    def project_each(self, x0: Inputs, x: Inputs, radii: Scores) -> Inputs:
        x0_ = x0.double().flatten(1)
        x_ = x.double().flatten(1)
        low, high = (side.double().expand(x0.shape).flatten(1) for side in self.box.limits(x0))
        wanted = (x_ - x0_).abs()
        room = torch.where(x_ > x0_, high - x0_, x0_ - low)
        reach = radii.double()
        length = torch.minimum((wanted - least_threshold(wanted, room, reach).unsqueeze(1)).clamp(min=0), room)
        # A threshold far above the radius has lost digits that the radius has.
        length = length * (reach / torch.maximum(length.sum(1), reach.clamp(min=1e-300))).unsqueeze(1)
        z = (x0_ + (x_ - x0_).sign() * length).to(x.dtype)
        z = torch.where((z.double() - x0_).abs() > length, torch.nextafter(z, x0.flatten(1)), z)
        return self.box.clamp(z.reshape(x.shape))

    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        """Uniform in the ball: shares of a sum of exponential variates, one of which is left out."""
        features = prod(x0.shape[1:])
        shares = torch.empty((len(x0), features + 1), dtype=x0.dtype, device=x0.device).exponential_(generator=rng)
        signs = torch.randint(0, 2, (len(x0), features), dtype=x0.dtype, device=x0.device, generator=rng) * 2 - 1
        move = signs * shares[:, 1:] / shares.sum(1, keepdim=True)
        return self.project(x0, x0 + min(self.radius, self.box.width * features) * move.reshape(x0.shape))

    def steepest(self, g: Inputs) -> Inputs:
        """All of it in the value with the largest gradient, the first of those that tie."""
        flat = g.flatten(1)
        top = flat.abs().argmax(1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, top, flat.gather(1, top).sign()).reshape(g.shape)

    def stride(self, g: Inputs, radii: Scores) -> Inputs:
        """Of as many values as can cross the box within the radius, the one with the largest gradient that far."""
        length = radii.clamp(max=self.box.width)
        return over_features(length.to(g.dtype), g) * strongest(g, (radii / self.box.width).ceil())

    def forecast(self, x: Inputs, g: Inputs, rise: Scores) -> Scores:
        """The length of the way to the plane within the box; at most what as many values as the side of a square image
        add up to, as a slope says nothing where the box stops most values."""
        length = self.distance(x, self.toward_plane(x, g, rise))
        return length.clamp(max=self.box.width * prod(x.shape[1:]) ** 0.5)

    def toward_plane(self, x: Inputs, w: Inputs, rise: Scores) -> Inputs:
        w = w * over_features(rise.sign(), w)
        low, high = self.box.limits(x)
        room = torch.where(w > 0, high - x, x - low)
        move = greedy(w.flatten(1), room.flatten(1), rise.abs()).to(x.dtype).reshape(x.shape)
        return self.box.clamp(x + w.sign() * move)

    def nearest_in(self, x0: Inputs, normals: np.ndarray, offsets: np.ndarray) -> polytope.Nearest:
        flat = x0.detach().cpu().double().flatten().numpy()
        return polytope.nearest_linear(flat, normals, offsets, "l1")

    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        return interval_hull(x0, self.radius, self.box)

    def extent(self, x0: Inputs, norm: float) -> Scores:
        return ball_extent(self, 1, x0, norm)

    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        """Exact: the radius is spent on the largest coefficients first, on each until the box stops it."""
        if self.radius == inf:
            return least_over_box(*self.hull(x0), a)
        rows = a.flatten(2)
        at = x0.flatten(1).unsqueeze(1)
        low, high = (side.flatten(1).unsqueeze(1) for side in self.hull(x0))
        order = rows.abs().argsort(2, descending=True)
        room = torch.where(rows > 0, at - low, high - at).gather(2, order)
        spent = (room.cumsum(2) - room).clamp(min=0)
        reach = self.radius * (1 + torch.finfo(x0.dtype).eps)
        saved = rows.abs().gather(2, order) * torch.minimum((reach - spent).clamp(min=0), room)
        return (rows * at).sum(2) - saved.sum(2)

    def _reach(self, features: int) -> float:
        """The radius less the rounding error of a float64 sum of so many lengths."""
        return self.radius * (1 - 2 * features * torch.finfo(torch.float64).eps)


def soft_threshold(change: Inputs, threshold: Inputs) -> Inputs:
    """The d that minimises threshold * |d| + (d - change)^2 / 2, value by value: the proximal operator of l1."""
    return change.sign() * (change.abs() - threshold).clamp(min=0)


def least_threshold(wanted: Tensor, room: Tensor, target: Scores) -> Scores:
    """The least t >= 0 with sum of min(max(wanted - t, 0), room) <= target, row by row.

    The sum decreases piecewise linearly in t, with kinks at each `wanted` and at each positive `wanted - room`. The
    segment that crosses the target is found from the highest kink down, and solved for t.
    """
    kinks, order = torch.cat([wanted, (wanted - room).clamp(min=0)], 1).sort(dim=1, descending=True)
    weights = torch.ones_like(wanted)
    weights = torch.cat([weights, -weights], 1).gather(1, order)
    slopes = weights.cumsum(1)
    heights = (weights * kinks).cumsum(1)
    over = torch.minimum(wanted, room).sum(1) > target
    target = target.unsqueeze(1)
    crossed = (heights - slopes * kinks) > target

    # The segment before the first kink above the target.
    slope = slopes.roll(1, 1)
    height = heights.roll(1, 1)
    found = torch.where(crossed.any(1), crossed.int().argmax(1), 0).unsqueeze(1)
    t = (height.gather(1, found) - target) / slope.gather(1, found).clamp(min=1)
    # Where no kink lies above the target, the crossing is on the last segment, which ends at zero.
    last = (heights[:, -1:] - target) / slopes[:, -1:].clamp(min=1)
    t = torch.where(crossed.any(1, keepdim=True), t, last).squeeze(1)
    return torch.where(over, t.clamp(min=0), torch.zeros_like(t))
