"""The patch: anything at all inside a mask, nothing outside it."""

from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from jaxtyping import Bool
from torch import Tensor

from brinell.errors import UsageError
from brinell.threat.box import REALS, Box
from brinell.threat.masked import check_mask, mask_digest
from brinell.threat.sets import Bounds, Coefficients, PerturbationSet, check_radius, least_over_box
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True, eq=False)
class Patch(PerturbationSet):
    """{x : x = x0 outside the mask, |x - x0| <= radius * width inside} ∩ box (Brown et al. 2017, arXiv:1712.09665).

    mask: true where the input may change; the shape of one example, or one that broadcasts to it. width: that of the
    box, feature by feature, so it has to be bounded. radius: a share of it, and 1 allows every valid value.
    """

    name: ClassVar[str] = "patch"
    mask: Bool[Tensor, "*shape"]
    radius: float = 1.0
    box: Box = REALS

    def __post_init__(self) -> None:
        check_radius(self.radius)
        check_mask(self.mask)

    @classmethod
    def everywhere(cls) -> "Patch":
        """No mask: every valid input, however far from x0."""
        return cls(torch.tensor(True))

    @property
    def about(self) -> str:
        return f" inside mask {mask_digest(self.mask)}"

    def within(self, box: Box) -> "Patch":
        if not box.bounded:
            raise UsageError(f"box is [{box.low}, {box.high}]; a patch is measured by the box, so give a bounded one")
        return replace(self, box=box)

    def resized(self, radius: float) -> "Patch":
        return replace(self, radius=radius)

    def distance_unit(self, unit: float) -> float:
        return 1.0

    def rescaled(self, unit: float) -> "Patch":
        return replace(self, box=self.box.rescaled(unit))

    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        change = (x.double() - x0.double()).abs()
        inside = change / self._width(x0).double()
        outside = torch.where(change == 0, 0.0, torch.inf)
        return torch.where(self._mask(x0), inside, outside).flatten(1).amax(1)

    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        low, high = self._interval(x0, inward=True)
        near = self.box.clamp(torch.minimum(torch.maximum(x, low), high))
        return torch.where(self._mask(x0), near, x0)

    def valid(self, x0: Inputs, x: Inputs) -> Inputs:
        return torch.where(self._mask(x0), self.box.clamp(x), x0)

    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        u = torch.rand(x0.shape, dtype=x0.dtype, device=x0.device, generator=rng)
        return self.project(x0, x0 + min(self.radius, 1.0) * self._width(x0) * (2 * u - 1))

    def steepest(self, g: Inputs) -> Inputs:
        return g.sign() * self._width(g) * self._mask(g)

    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        low, high = self._interval(x0, inward=False)
        mask = self._mask(x0)
        return torch.where(mask, self.box.clamp(low), x0), torch.where(mask, self.box.clamp(high), x0)

    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        return least_over_box(*self.hull(x0), a)

    def _mask(self, like: Inputs) -> Tensor:
        try:
            return self.mask.to(like.device).expand(like.shape[1:])
        except RuntimeError:
            raise UsageError(
                f"mask has shape {tuple(self.mask.shape)}; one example has {tuple(like.shape[1:])}"
            ) from None

    def _width(self, like: Inputs) -> Tensor:
        low, high = self.box.limits(like)
        return high - low

    def _interval(self, x0: Inputs, inward: bool) -> tuple[Inputs, Inputs]:
        """x0 ± radius * width, rounded to the side asked for; everything from radius 1 on."""
        if self.radius >= 1:
            everything = torch.full_like(x0, torch.inf)
            return -everything, everything
        low, high = self.box.limits(x0)
        error = 2 * torch.finfo(x0.dtype).eps * (torch.maximum(low.abs(), high.abs()) + self._width(x0))
        reach = self.radius * self._width(x0) + (-error if inward else error)
        return x0 - reach.clamp(min=0), x0 + reach.clamp(min=0)
