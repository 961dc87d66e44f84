"""Loudness: a change of a sound, measured against the sound."""

from dataclasses import dataclass, replace
from math import log10
from typing import ClassVar, final

import torch

from brinell.threat.box import REALS, Box
from brinell.threat.sets import (
    Bounds,
    Coefficients,
    PerturbationSet,
    check_radius,
    least_over_box,
    over_features,
)
from brinell.threat.units import power_of_two
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class Loudness(PerturbationSet):
    """{x : max |x - x0| <= radius * max |x0|} ∩ box: an linf ball as large as the sound is loud.

    Carlini and Wagner 2018 (arXiv:1801.01944) give the distortion as dB(change) - dB(sound), the dB of a
    sound being 20 log10 of its peak. That is 20 log10 of the radius, which `decibels` and `Loudness.of_decibels` turn
    into each other. Nothing may change in silence.

    Steps are amplitudes and do not know how loud each sound of a batch is: sounds much louder or softer than most are
    better attacked apart.
    """

    name: ClassVar[str] = "loudness"
    radius: float
    box: Box = REALS

    def __post_init__(self) -> None:
        check_radius(self.radius)

    @classmethod
    def of_decibels(cls, decibels: float) -> "Loudness":
        """-20 is a tenth of the sound's peak, -40 a hundredth."""
        return cls(10 ** (decibels / 20))

    @property
    def decibels(self) -> float:
        """The radius as dB relative to the sound."""
        return 20 * log10(self.radius) if self.radius > 0 else -torch.inf

    def within(self, box: Box) -> "Loudness":
        return replace(self, box=box)

    def resized(self, radius: float) -> "Loudness":
        return replace(self, radius=radius)

    def unit(self, x0: Inputs) -> float:
        """By the peak of the sounds, as steps are."""
        peak = self._peak(x0)
        peak = peak[peak > 0]
        return power_of_two(float(peak.median())) if len(peak) else super().unit(x0)

    def distance_unit(self, unit: float) -> float:
        return 1.0

    def rescaled(self, unit: float) -> "Loudness":
        return replace(self, box=self.box.rescaled(unit))

    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        change = (x.double() - x0.double()).abs().flatten(1).amax(1)
        peak = x0.double().abs().flatten(1).amax(1)
        return torch.where(change == 0, 0.0, change / peak)

    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        reach = self._reach(x0)
        if self.radius < torch.inf:  # less the rounding of x0 ± reach
            eps = torch.finfo(x0.dtype).eps
            reach = (reach * (1 - 2 * eps) - eps * (over_features(self._peak(x0), x0) + reach)).clamp(min=0)
        return self.box.clamp(torch.clamp(x, x0 - reach, x0 + reach))

    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        u = torch.rand(x0.shape, dtype=x0.dtype, device=x0.device, generator=rng)
        return self.project(x0, x0 + min(self.radius, 1.0) * over_features(self._peak(x0), x0) * (2 * u - 1))

    def steepest(self, g: Inputs) -> Inputs:
        return g.sign()

    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        reach = self._reach(x0) * (1 + 4 * torch.finfo(x0.dtype).eps)
        low = torch.nextafter(x0 - reach, torch.full_like(x0, -torch.inf))
        high = torch.nextafter(x0 + reach, torch.full_like(x0, torch.inf))
        return self.box.clamp(low), self.box.clamp(high)

    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        return least_over_box(*self.hull(x0), a)

    def _peak(self, x0: Inputs) -> Scores:
        return x0.abs().flatten(1).amax(1)

    def _reach(self, x0: Inputs) -> Inputs:
        if self.radius == torch.inf:
            return torch.full_like(x0, torch.inf)
        return (self.radius * over_features(self._peak(x0), x0)).expand_as(x0)


def decibels(distance: Scores) -> Scores:
    """Distances of a `Loudness` as dB relative to the sound; -inf for no change."""
    return 20 * distance.log10()
