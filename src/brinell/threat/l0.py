"""The l0 sets: so many features, or so many pixels, may take any value of the box.

Published figures differ in what they count. Most l0 attacks count features: a colour pixel that changes in three
channels counts three. One-pixel attacks and their kin count pixels: it counts once.
`L0` counts features, `Pixels` pixels.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from math import floor
from typing import ClassVar, final

import torch
from torch import Tensor

from brinell.threat.box import REALS, Box
from brinell.threat.sets import Bounds, Coefficients, PerturbationSet, check_radius, over_features, strongest
from brinell.types import Inputs, Scores


class SparseSet(PerturbationSet):
    """{x : x differs from x0 in at most `radius` places} ∩ box. A subclass says what a place is.

    The sets are not convex: the projection is a nearest point, not the only one where gains tie.
    """

    @abstractmethod
    def places(self, x: Tensor) -> Tensor:
        """(batch, *shape) as (batch, values of a place, places)."""

    def distance_unit(self, unit: float) -> float:
        return 1.0

    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        return self.places(x != x0).any(1).sum(1).double()

    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        """The places kept are those where it shortens the way to x the most; there x is met with the box."""
        return self.project_each(x0, x, torch.full((len(x0),), self.radius, dtype=torch.float64, device=x0.device))

    def project_each(self, x0: Inputs, x: Inputs, radii: Scores) -> Inputs:
        moved = self.box.clamp(x)
        gain = self.places((x - x0).square() - (x - moved).square()).sum(1)
        return torch.where(self._at_values(_top(gain, radii), x), moved, x0)

    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        """Random places, uniform in the box there; where the box has no end, normal around x0."""
        low, high = self.box.limits(x0)
        u = torch.rand(x0.shape, dtype=x0.dtype, device=x0.device, generator=rng)
        far = x0 + torch.randn(x0.shape, dtype=x0.dtype, device=x0.device, generator=rng)
        bounded = low.isfinite() & high.isfinite()
        x = self.box.clamp(torch.where(bounded, low.where(bounded, 0) + u * (high - low).where(bounded, 0), far))
        places = self.places(x0).shape[2]
        rank = torch.rand((len(x0), places), dtype=x0.dtype, device=x0.device, generator=rng) + 1
        count = torch.full((len(x0),), self.radius, dtype=torch.float64, device=x0.device)
        return torch.where(self._at_values(_top(rank, count), x), x, x0)

    def steepest(self, g: Inputs) -> Inputs:
        """The body has no end, and so no steepest point: g itself, its largest value scaled to one."""
        largest = g.abs().flatten(1).amax(1)
        return g / over_features(largest.where(largest > 0, torch.ones_like(largest)), g)

    def stride(self, g: Inputs, radii: Scores) -> Inputs:
        """Of three times as many values as the radius allows, which compete for it; the largest crosses the box."""
        side = self.box.width if self.box.bounded else 1.0
        values = self.places(g).shape[1]
        return side * strongest(g, 3 * values * radii)

    def forecast(self, x: Inputs, g: Inputs, rise: Scores) -> Scores:
        """The number of places that the way to the plane changes; at most the side of a square image of them, as slopes
        say nothing where the box stops most values."""
        count = self.distance(x, self.toward_plane(x, g, rise))
        return count.clamp(max=self.places(x).shape[2] ** 0.5)

    def toward_plane(self, x: Inputs, w: Inputs, rise: Scores) -> Inputs:
        """The point z of the box with <w, z - x> = rise that differs from x in the fewest places.

        Where none is, the box's nearest end. The places that can raise <w, z> most go first, each as far as it can.
        """
        w = w.double() * over_features(rise.double().sign(), w)
        low, high = self.box.limits(x.double())
        rise = rise.double().abs()
        room = torch.minimum(torch.where(w > 0, high - x, x - low), over_features(rise, w) / w.abs()).where(w != 0, 0)
        gain, order = self.places(w.abs() * room).sum(1).sort(dim=1, descending=True)
        rise = rise.unsqueeze(1)
        missing = rise - (gain.cumsum(1) - gain)
        share = (missing / gain).where((gain > 0) & (missing > 1e-12 * rise), 0).clamp(0, 1)
        share = torch.zeros_like(share).scatter(1, order, share)
        return self.box.clamp(x + (self._at_values(share, x) * w.sign() * room).to(x.dtype))

    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        low, high = (side.expand(x0.shape) for side in self.box.limits(x0))
        return (low, high) if self.radius >= 1 else (x0, x0)

    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        """Exact: the places that lower the value most, each at the end of the box that its sign asks for."""
        low, high = self.box.limits(x0)
        x0_ = x0.unsqueeze(1)
        fall = (a * torch.where(a > 0, x0_ - low, x0_ - high)).where(a != 0, 0)
        gain = self.places(fall.flatten(0, 1)).sum(1)
        saved = gain.topk(min(self._count, gain.shape[1]), dim=1).values.sum(1).unflatten(0, a.shape[:2])
        least: Bounds = (a * x0_).flatten(2).sum(2) - saved
        return least

    @property
    def _count(self) -> int:
        return floor(min(self.radius, torch.iinfo(torch.int64).max))

    def _at_values(self, of_places: Tensor, like: Inputs) -> Tensor:
        """A number or flag of each place, repeated for all of its values."""
        values = self.places(like).shape[1]
        return of_places.unsqueeze(1).expand(-1, values, -1).reshape(like.shape)


@final
@dataclass(frozen=True)
class L0(SparseSet):
    """At most `radius` features differ from x0, each with any value of the box; the channels of a pixel count apart."""

    name: ClassVar[str] = "l0"
    radius: float
    box: Box = REALS

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def within(self, box: Box) -> "L0":
        return replace(self, box=box)

    def resized(self, radius: float) -> "L0":
        return replace(self, radius=radius)

    def rescaled(self, unit: float) -> "L0":
        return replace(self, box=self.box.rescaled(unit))

    def places(self, x: Tensor) -> Tensor:
        return x.flatten(1).unsqueeze(1)


@final
@dataclass(frozen=True)
class Pixels(SparseSet):
    """At most `radius` pixels differ from x0, in any of their channels.

    An example of three axes or more has its channels on the first, (channels, height, width); one of fewer has none,
    and a pixel is a feature.
    """

    name: ClassVar[str] = "pixels"
    radius: float
    box: Box = REALS

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def within(self, box: Box) -> "Pixels":
        return replace(self, box=box)

    def resized(self, radius: float) -> "Pixels":
        return replace(self, radius=radius)

    def rescaled(self, unit: float) -> "Pixels":
        return replace(self, box=self.box.rescaled(unit))

    def places(self, x: Tensor) -> Tensor:
        return x.flatten(2) if x.dim() > 3 else x.flatten(1).unsqueeze(1)


def _top(gain: Tensor, counts: Scores) -> Tensor:
    """The places that gain most, as many as each example is allowed, of those that gain anything."""
    most = min(int(counts.max().clamp(max=gain.shape[1])) if len(counts) else 0, gain.shape[1])
    top = gain.topk(most, dim=1).indices
    allowed = torch.arange(1, most + 1, device=gain.device) <= counts.unsqueeze(1)
    return torch.zeros_like(gain, dtype=torch.bool).scatter(1, top, allowed) & (gain > 0)
