"""A set inside a mask: what lies outside of it stays as it is."""

import hashlib
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool
from torch import Tensor

from brinell.errors import UsageError
from brinell.threat.box import Box
from brinell.threat.sets import Bounds, Coefficients, PerturbationSet
from brinell.types import Inputs, Mask, Scores


@final
@dataclass(frozen=True, eq=False)
class Masked(PerturbationSet):
    """{x of `inner` : x = x0 outside the mask}. Its name, radius and box are those of `inner`.

    mask: true where the input may change; the shape of one example, or one that broadcasts to it. inner: a set that
    allows each value to stay where it is, as balls and boxes do; the nearest point of it to one that agrees with x0
    outside the mask agrees there too.
    """

    mask: Bool[Tensor, "*shape"]
    inner: PerturbationSet

    def __post_init__(self) -> None:
        check_mask(self.mask)

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.inner.name

    @property
    def radius(self) -> float:  # type: ignore[override]
        return self.inner.radius

    @property
    def box(self) -> Box:  # type: ignore[override]
        return self.inner.box

    @property
    def pointed(self) -> bool:  # type: ignore[override]
        return self.inner.pointed

    @property
    def about(self) -> str:
        return f" inside mask {mask_digest(self.mask)}{self.inner.about}"

    def within(self, box: Box) -> "Masked":
        return replace(self, inner=self.inner.within(box))

    def resized(self, radius: float) -> "Masked":
        return replace(self, inner=self.inner.resized(radius))

    def unit(self, x0: Inputs) -> float:
        """By the values within the mask alone."""
        mask = self.mask.to(x0.device).expand(x0.shape[1:])
        return self._free(x0, mask).unit(x0[:, mask])

    def distance_unit(self, unit: float) -> float:
        return self.inner.distance_unit(unit)

    def rescaled(self, unit: float) -> "Masked":
        return replace(self, inner=self.inner.rescaled(unit))

    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        return self.inner.distance(x0, x).where(~self._strays(x0, x), torch.inf)

    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        return self._inside(self.inner.project(x0, self._inside(x, x0)), x0)

    def valid(self, x0: Inputs, x: Inputs) -> Inputs:
        return self._inside(self.inner.valid(x0, self._inside(x, x0)), x0)

    def project_each(self, x0: Inputs, x: Inputs, radii: Scores) -> Inputs:
        return self._inside(self.inner.project_each(x0, self._inside(x, x0), radii), x0)

    def toward_plane(self, x: Inputs, w: Inputs, rise: Scores) -> Inputs:
        return self.inner.toward_plane(x, self._inside(w, torch.zeros_like(w)), rise)

    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        """A sample of the inner set over the values within the mask alone, or it would be short."""
        mask = self.mask.to(x0.device).expand(x0.shape[1:])
        return x0.masked_scatter(mask, self._free(x0, mask).sample(x0[:, mask], rng))

    def steepest(self, g: Inputs) -> Inputs:
        return self.inner.steepest(self._inside(g, torch.zeros_like(g)))

    def stride(self, g: Inputs, radii: Scores) -> Inputs:
        return self.inner.stride(self._inside(g, torch.zeros_like(g)), radii)

    def forecast(self, x: Inputs, g: Inputs, rise: Scores) -> Scores:
        return self.inner.forecast(x, self._inside(g, torch.zeros_like(g)), rise)

    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        low, high = self.inner.hull(x0)
        return self._inside(low, x0), self._inside(high, x0)

    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        """That of the inner set over the values within the mask, and what the others add."""
        mask = self._over(x0.unsqueeze(1))
        fixed = (a * x0.unsqueeze(1)).masked_fill(mask, 0).flatten(2).sum(2)
        least = self.inner.minimum(x0, a.masked_fill(~mask, 0))
        return fixed + least

    def _free(self, x0: Inputs, mask: Tensor) -> PerturbationSet:
        """The inner set over the values within the mask alone."""
        low, high = (side.expand(mask.shape)[mask].tolist() for side in self.box.limits(x0))
        return self.inner.within(Box(tuple(low), tuple(high)))

    def _over(self, x: Tensor) -> Tensor:
        """The mask, broadcast to x."""
        return self.mask.to(x.device).expand(x.shape)

    def _inside(self, x: Inputs, x0: Inputs) -> Inputs:
        """x within the mask, x0 outside."""
        return torch.where(self._over(x0), x, x0)

    def _strays(self, x0: Inputs, x: Inputs) -> Mask:
        """Whether x differs from x0 outside the mask."""
        return ((x != x0) & ~self._over(x0)).flatten(1).any(1)


def mask_digest(mask: Tensor) -> str:
    """A short name of a mask: of its shape and of the places it sets."""
    content = f"{tuple(mask.shape)} {mask.flatten().nonzero().flatten().tolist()}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def check_mask(mask: Tensor) -> None:
    """Refuse a mask that is not of booleans, or allows nothing."""
    if mask.dtype is not torch.bool or not mask.any():
        raise UsageError(f"mask is {mask.dtype} with {int(mask.count_nonzero())} set; give some True")
