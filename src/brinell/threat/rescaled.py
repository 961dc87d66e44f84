"""A perturbation set in other units: the same inputs, each value divided by a power of two."""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from brinell.threat import polytope
from brinell.threat.box import Box
from brinell.threat.sets import Bounds, Coefficients, PerturbationSet
from brinell.types import Inputs, Mask, Scores


@final
@dataclass(frozen=True, eq=False)
class Rescaled(PerturbationSet):
    """{x : unit * x in the inner set}, distances divided by `measure`; both are powers of two.

    For sets that hold numbers of their own about each feature. Every answer is the inner set's, to the last bit.
    """

    inner: PerturbationSet
    unit_of_inner: float
    measure: float

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.inner.name

    @property
    def radius(self) -> float:  # type: ignore[override]
        return self.inner.radius / self.measure

    @property
    def box(self) -> Box:  # type: ignore[override]
        return self.inner.box.rescaled(self.unit_of_inner)

    @property
    def pointed(self) -> bool:  # type: ignore[override]
        return self.inner.pointed

    @property
    def rectangular(self) -> bool:  # type: ignore[override]
        return self.inner.rectangular

    @property
    def about(self) -> str:
        return f"{self.inner.about} in units of {self.unit_of_inner:g}"

    def within(self, box: Box) -> "Rescaled":
        return replace(self, inner=self.inner.within(box.rescaled(1 / self.unit_of_inner)))

    def resized(self, radius: float) -> "Rescaled":
        return replace(self, inner=self.inner.resized(radius * self.measure))

    def unit(self, x0: Inputs) -> float:
        return self.inner.unit(self._out(x0)) / self.unit_of_inner

    def distance_unit(self, unit: float) -> float:
        return self.inner.distance_unit(unit * self.unit_of_inner) / self.measure

    def rescaled(self, unit: float) -> PerturbationSet:
        return self.inner.rescaled(unit * self.unit_of_inner)

    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        return self.inner.distance(self._out(x0), self._out(x)) / self.measure

    def contains(self, x0: Inputs, x: Inputs) -> Mask:
        return self.inner.contains(self._out(x0), self._out(x))

    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        return self._in(self.inner.project(self._out(x0), self._out(x)))

    def valid(self, x0: Inputs, x: Inputs) -> Inputs:
        return self._in(self.inner.valid(self._out(x0), self._out(x)))

    def project_each(self, x0: Inputs, x: Inputs, radii: Scores) -> Inputs:
        return self._in(self.inner.project_each(self._out(x0), self._out(x), radii * self.measure))

    def shrink(self, x0: Inputs, x: Inputs, share: Scores) -> Inputs:
        return self._in(self.inner.shrink(self._out(x0), self._out(x), share))

    def toward_plane(self, x: Inputs, w: Inputs, rise: Scores) -> Inputs:
        return self._in(self.inner.toward_plane(self._out(x), self._in(w), rise))

    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        return self._in(self.inner.sample(self._out(x0), rng))

    def steepest(self, g: Inputs) -> Inputs:
        return self.inner.steepest(self._in(g)) * (self.measure / self.unit_of_inner)

    def stride(self, g: Inputs, radii: Scores) -> Inputs:
        return self._in(self.inner.stride(self._in(g), radii * self.measure))

    def forecast(self, x: Inputs, g: Inputs, rise: Scores) -> Scores:
        return self.inner.forecast(self._out(x), self._in(g), rise) / self.measure

    def inward(self, x0: Inputs, x: Inputs, g: Inputs) -> Inputs:
        return self.inner.inward(self._out(x0), self._out(x), g)

    def closest(self, x0: Inputs, low: Inputs, high: Inputs) -> Inputs:
        return self._in(self.inner.closest(self._out(x0), self._out(low), self._out(high)))

    def to_plane(self, w: Tensor, rise: float) -> float:
        return self.inner.to_plane(self._in(w), rise) / self.measure

    def nearest_in(self, x0: Inputs, normals: np.ndarray, offsets: np.ndarray) -> polytope.Nearest:
        point, bound = self.inner.nearest_in(self._out(x0), normals / self.unit_of_inner, offsets)
        return None if point is None else point / self.unit_of_inner, bound / self.measure

    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        low, high = self.inner.hull(self._out(x0))
        return self._in(low), self._in(high)

    def extent(self, x0: Inputs, norm: float) -> Scores:
        return self.inner.extent(self._out(x0), norm) / self.unit_of_inner

    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        return self.inner.minimum(self._out(x0), self._in(a))

    def _out(self, x: Tensor) -> Tensor:
        """In the units of the inner set."""
        return x * self.unit_of_inner

    def _in(self, x: Tensor) -> Tensor:
        """In the units of this one. A gradient by x, or coefficients of it, goes this way to the inner set."""
        return x / self.unit_of_inner
