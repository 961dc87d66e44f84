"""Perturbation sets: the inputs an adversary may choose around x0. They own all geometry.

An attack or a verifier written against `PerturbationSet` works for every set: it never asks which norm it has.
"""

from abc import ABC, abstractmethod
from math import ceil
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from brinell.arguments import Checked
from brinell.errors import UsageError
from brinell.threat import polytope
from brinell.threat.box import Box, between
from brinell.threat.units import median_width, power_of_two, typical_width
from brinell.types import Inputs, Mask, Scores

Coefficients = Float[Tensor, "batch rows *shape"]
Bounds = Float[Tensor, "batch rows"]


class PerturbationSet(Checked, ABC):
    """The inputs allowed around x0: a body of some radius, met with the valid box.

    Every method is batched; the first axis counts examples. Two sets with one `name` differ only in radius, so what
    is shown at one radius can be carried to another.
    """

    instead: ClassVar[str] = "give a perturbation set, such as brinell.Linf(8 / 255)"
    name: ClassVar[str]
    radius: float
    box: Box
    pointed: ClassVar[bool] = False
    """Whether its body comes to a point on every axis, so that the steepest move is one of a single feature."""
    rectangular: ClassVar[bool] = False
    """Whether it is always all of its hull."""

    @property
    def about(self) -> str:
        """What else tells it from other sets of its name, such as a mask's digest: a run is of one set."""
        return ""

    @abstractmethod
    def within(self, box: Box) -> "PerturbationSet":
        """The same body, meeting `box`."""

    @abstractmethod
    def resized(self, radius: float) -> "PerturbationSet":
        """The same body at another radius."""

    def unit(self, x0: Inputs) -> float:
        """The power of two that is the unit of a search around x0: in it the box, or else x0, is about one wide.

        It grows as the inputs do, so that a search in this unit is the same whatever the user's units are.
        """
        low, high = (side.expand(x0[:1].shape) for side in self.box.limits(x0))
        return self._unit(median_width(low, high), x0)

    def _unit(self, width: float | None, x0: Inputs) -> float:
        """From the width of the box, if it has one, or from the values that an adversary may change."""
        size = width or typical_width(x0) or (self.radius if 0 < self.radius < float("inf") else 1.0)
        return power_of_two(size)

    def distance_unit(self, unit: float) -> float:
        """A distance of one in the set rescaled by `unit`, as a distance in this one; by default the same unit."""
        return unit

    def rescaled(self, unit: float) -> "PerturbationSet":
        """The same set, box and all, of inputs that are divided by `unit`, a power of two."""
        from brinell.threat.rescaled import Rescaled  # which is a set itself

        measure = self.distance_unit(unit)
        return self if unit == measure == 1 else Rescaled(self, unit, measure)

    @abstractmethod
    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        """The smallest radius of a body around x0 that holds x; float64, in the units of x. The box plays no part."""

    def contains(self, x0: Inputs, x: Inputs) -> Mask:
        """Whether x lies in the set and in the box: in float64, with no tolerance outward.

        What no radius reaches is outside, at an infinite radius too; so is NaN.
        """
        distance = self.distance(x0, x)
        return (distance <= self.radius) & distance.isfinite() & self.box.contains(x)

    @abstractmethod
    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        """The point of set ∩ box nearest to x, drawn inward by rounding error only, so that it is contained."""

    def valid(self, x0: Inputs, x: Inputs) -> Inputs:
        """The nearest point to x that some radius reaches: the projection of a search without a radius.

        By default the nearest point of the box, for bodies that fill the box as they grow.
        """
        return self.box.clamp(x)

    def project_each(self, x0: Inputs, x: Inputs, radii: Scores) -> Inputs:
        """`project` with a radius for each example, up to rounding: for minimum-norm attacks. Not every set has it."""
        raise UsageError(f"the set {self.name!r} has no radius for each example; use another attack")

    def shrink(self, x0: Inputs, x: Inputs, share: Scores) -> Inputs:
        """x drawn toward x0 until its distance is `share` of what it was, moved no more than that takes.

        share: 0 (x0 itself) to 1 (x itself), one an example.
        """
        return torch.lerp(x0, x, over_features(share.to(x.dtype), x))

    def toward_plane(self, x: Inputs, w: Inputs, rise: Scores) -> Inputs:
        """The point z of the box with <w, z - x> = rise that is nearest to x; where none is, the box's nearest end.

        By default along the steepest direction, which is nearest where no value meets the end of the box.
        """
        direction = self.steepest(w)
        length = (rise / (w * direction).flatten(1).sum(1)).nan_to_num(0.0, 0.0, 0.0).to(x.dtype)
        return self.box.clamp(x + over_features(length, x) * direction)

    @abstractmethod
    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        """A random start: uniform in the body, then projected into the box."""

    @abstractmethod
    def steepest(self, g: Inputs) -> Inputs:
        """argmax of <g, d> over the body of radius one; zero where g is zero."""

    def stride(self, g: Inputs, radii: Scores) -> Inputs:
        """The longest useful step along the gradient g of a search within a body of these radii.

        By default the steepest direction, one radius long. A body whose radius suffices for a few values shares the
        step among as many.
        """
        return over_features(radii.to(g.dtype), g) * self.steepest(g)

    def forecast(self, x: Inputs, g: Inputs, rise: Scores) -> Scores:
        """A first-order estimate of the distance at which a function with gradient g at x has risen by `rise`.

        float64; inf where g is 0. By default rise / |g|_dual, whatever the box.
        """
        slope = (g * self.steepest(g)).flatten(1).sum(1).double()
        return (rise.double() / slope).nan_to_num(torch.inf, torch.inf, 0.0).clamp(min=0)

    def closest(self, x0: Inputs, low: Inputs, high: Inputs) -> Inputs:
        """The valid point between low and high that is nearest to x0, whatever the radius; NaN where there is none.

        By default for sets whose distance grows with the change of each value.
        """
        return torch.clamp(x0, low, high)

    def to_plane(self, w: Tensor, rise: float) -> float:
        """The distance of x0 from the hyperplane {x : <w, x - x0> = rise}, without the box; w: one example, float64."""
        w = w.unsqueeze(0)
        steepness = float((w * self.steepest(w)).sum())
        return abs(rise) / steepness if steepness > 0 else (0.0 if rise == 0 else float("inf"))

    def nearest_in(self, x0: Inputs, normals: np.ndarray, offsets: np.ndarray) -> polytope.Nearest:
        """(the point of {x : normals x <= offsets} nearest to x0, a lower bound on the distance of that polytope).

        x0: one example; in flat order, float64, whatever box and radius. The point is a solver's, None where it finds
        none; the bound does not trust the solver.
        """
        raise UsageError(f"the set {self.name!r} has no nearest point of a polytope; use linf, l1 or l2")

    def inward(self, x0: Inputs, x: Inputs, g: Inputs) -> Inputs:
        """g without the parts that lead out of the hull from x: what an ascent from x can follow."""
        return between(*self.hull(x0), x, g)

    @abstractmethod
    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        """(lowest, highest) value of each input over set ∩ box, rounded outward: for verifiers."""

    def extent(self, x0: Inputs, norm: float) -> Scores:
        """An upper bound on |x - x0| in the norm of this order, over every x in set ∩ box; float64, for verifiers.

        By default that of the hull.
        """
        return hull_extent(self, x0, norm)

    @abstractmethod
    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        """A lower bound on <a, x> over every x in set ∩ box, for each row of a: for verifiers."""


def check_radius(radius: float) -> None:
    """Refuse a radius that is not a number >= 0."""
    if not radius >= 0:
        raise UsageError(f"radius is {radius}; it must be a number >= 0, in the units of the input")


def check_fits(radius: float, box: Box, widest: float) -> None:
    """Refuse a finite radius that is larger than any distance within the box, up to how float32 holds its ends."""
    if box.bounded and widest * (1 + 2.0**-20) < radius < float("inf"):
        hint = f"; did you mean {radius:g}/255?" if box.width <= 1 <= radius <= 255 else ""
        raise UsageError(f"radius {radius:g} is larger than the box [{box.low}, {box.high}]{hint}")


def over_features(value: Scores | Mask, like: Tensor) -> Tensor:
    """One value an example, shaped so that it broadcasts against a batch like `like`."""
    return value.reshape(-1, *(1,) * (like.dim() - 1))


def interval_hull(x0: Inputs, radius: float, box: Box) -> tuple[Inputs, Inputs]:
    """x0 ± radius, met with the box and rounded outward: the sum, and the radius itself in the dtype of x0."""
    reach = radius * (1 + torch.finfo(x0.dtype).eps)
    low = torch.nextafter(x0 - reach, torch.full_like(x0, -torch.inf))
    high = torch.nextafter(x0 + reach, torch.full_like(x0, torch.inf))
    return box.clamp(low), box.clamp(high)


def hull_extent(perturbation: PerturbationSet, x0: Inputs, norm: float) -> Scores:
    """An upper bound on |x - x0| over the hull, in the norm of this order, rounded upward."""
    low, high = perturbation.hull(x0)
    change = torch.maximum(high.double() - x0.double(), x0.double() - low.double()).flatten(1)
    length: Scores = torch.linalg.vector_norm(change, norm, dim=1)
    return length * (1 + change.shape[1] * torch.finfo(change.dtype).eps)


def ball_extent(perturbation: PerturbationSet, own: float, x0: Inputs, norm: float) -> Scores:
    """The same for a ball of the norm of order `own`, which is often smaller than that of its hull.

    Of n values, |x|_norm <= n^(1 / norm - 1 / own) |x|_own, or |x|_own where that is less.
    """
    features = torch.Size(x0.shape[1:]).numel()
    stretch = features ** max(0.0, 1 / norm - 1 / own)
    reach = perturbation.radius * stretch * (1 + 4 * torch.finfo(torch.float64).eps)
    return hull_extent(perturbation, x0, norm).clamp(max=reach)


def strongest(g: Inputs, counts: Scores) -> Inputs:
    """The largest parts of g, so many an example and at least one; the largest of all becomes one, the others zero."""
    size = g.abs().flatten(1)
    most = max(1, min(ceil(float(counts.max())) if len(g) else 1, size.shape[1]))
    top = size.topk(most, dim=1)
    taken = torch.arange(most, device=g.device) < counts.clamp(min=1).unsqueeze(1)
    largest = top.values[:, :1].clamp(min=torch.finfo(g.dtype).tiny)
    parts = (g.flatten(1).gather(1, top.indices) / largest).where(taken, 0)
    return torch.zeros_like(size).scatter(1, top.indices, parts).reshape(g.shape)


def least_over_box(low: Inputs, high: Inputs, a: Coefficients) -> Bounds:
    """min <a, x> over low <= x <= high: the low end for positive coefficients, the high end for negative ones."""
    low = low.flatten(1).unsqueeze(-1)
    high = high.flatten(1).unsqueeze(-1)
    rows = a.flatten(2)
    return (rows.clamp(min=0) @ low + rows.clamp(max=0) @ high).squeeze(-1)
