"""The linf ball: every input value may move by up to the radius."""

from dataclasses import dataclass, replace
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
    check_fits,
    check_radius,
    interval_hull,
    least_over_box,
    over_features,
)
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class Linf(PerturbationSet):
    """{x : max |x - x0| <= radius} ∩ box. The projection is exact: set and box are both products of intervals."""

    name: ClassVar[str] = "linf"
    rectangular: ClassVar[bool] = True
    radius: float
    box: Box = REALS

    def __post_init__(self) -> None:
        check_radius(self.radius)
        check_fits(self.radius, self.box, self.box.width)

    def within(self, box: Box) -> "Linf":
        return replace(self, box=box)

    def resized(self, radius: float) -> "Linf":
        return replace(self, radius=radius)

    def rescaled(self, unit: float) -> "Linf":
        return replace(self, radius=self.radius / unit, box=self.box.rescaled(unit))

    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        return (x.double() - x0.double()).abs().flatten(1).amax(1)

    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        reach = self._reach(x0)
        return self.box.clamp(torch.clamp(x, x0 - reach, x0 + reach))

    def shrink(self, x0: Inputs, x: Inputs, share: Scores) -> Inputs:
        length = over_features((share * self.distance(x0, x)).to(x.dtype), x)
        return torch.where(over_features(share < 1, x), torch.clamp(x, x0 - length, x0 + length), x)

    def project_each(self, x0: Inputs, x: Inputs, radii: Scores) -> Inputs:
        reach = over_features(radii.to(x0.dtype), x0)
        return self.box.clamp(torch.clamp(x, x0 - reach, x0 + reach))

    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        u = torch.rand(x0.shape, dtype=x0.dtype, device=x0.device, generator=rng)
        return self.project(x0, x0 + min(self.radius, self.box.width) * (2 * u - 1))

    def steepest(self, g: Inputs) -> Inputs:
        return g.sign()

    def toward_plane(self, x: Inputs, w: Inputs, rise: Scores) -> Inputs:
        w = w * over_features(rise.sign(), w)
        low, high = self.box.limits(x)
        t = along(w.sign(), w, torch.where(w > 0, high - x, x - low), rise.abs())
        return self.box.clamp(x + over_features(t.to(x.dtype), x) * w.sign())

    def nearest_in(self, x0: Inputs, normals: np.ndarray, offsets: np.ndarray) -> polytope.Nearest:
        flat = x0.detach().cpu().double().flatten().numpy()
        return polytope.nearest_linear(flat, normals, offsets, "linf")

    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        return interval_hull(x0, self.radius, self.box)

    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        return least_over_box(*self.hull(x0), a)

    def _reach(self, x0: Inputs) -> float | Tensor:
        """The radius less the rounding error of x0 ± radius, whose size the box bounds (or else x0 itself)."""
        eps = torch.finfo(x0.dtype).eps
        if self.radius == torch.inf:
            return torch.inf
        if self.box.bounded:
            return max(self.radius * (1 - eps) - eps * self.box.largest, 0.0)
        return (self.radius * (1 - eps) - eps * (x0.abs() + self.radius)).clamp(min=0)
