"""Frequency masking: what a louder sound nearby in pitch keeps an ear from hearing.

The psychoacoustic model of Qin et al. 2019 (arXiv:1903.10346, appendix), with all maskers tonal as there: peaks of the
short-time spectrum raise the threshold of hearing around them on the Bark scale. Levels are in dB with the loudest
place of each sound at 96. Weaker maskers within half a Bark of a stronger one are left out, all at once where the
paper goes through them in order.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.evasion.spatial.transformation import Parameters, Transformation
from brinell.types import Inputs, Scores

Spectrum = Float[Tensor, "batch bins frames"]

LOUDEST = 96.0
"""What the loudest place of a sound is taken to be, in dB."""

MASKERS = 48
"""Most peaks a frame that are looked at; on the Bark scale there is room for fewer than 50."""


@final
@dataclass(frozen=True)
class Ear:
    """A model of hearing for sounds (batch, samples) at this rate, in samples a second.

    window: samples of a frame, which a quarter of it separates from the next. The paper has 2048 at 16 kHz.
    """

    rate: int
    window: int = 512

    def __post_init__(self) -> None:
        if self.rate < 1 or self.window < 8 or self.window % 4:
            raise UsageError(f"rate is {self.rate} and window {self.window}; a rate, and at least 8 samples in fours")

    @property
    def hop(self) -> int:
        """Samples from a frame to the next."""
        return self.window // 4

    def spectrum(self, x: Inputs) -> Tensor:
        """The short-time spectrum, complex: (batch, bins, frames)."""
        if x.dim() != 2 or x.shape[1] < self.window:
            raise UsageError(f"a sound has shape {tuple(x.shape[1:])}; it must be at least {self.window} samples")
        spectrum: Tensor = torch.stft(x, self.window, self.hop, window=self._hann(x), return_complex=True)
        return spectrum

    def sound(self, spectrum: Tensor, samples: int) -> Inputs:
        """The sound whose spectrum is nearest to this one."""
        hann = self._hann(spectrum.real)
        return torch.istft(spectrum, self.window, self.hop, window=hann, length=samples)

    def threshold(self, x: Inputs) -> Spectrum:
        """How large the spectrum of another sound may be, frame by frame, and not be heard beside x."""
        size = self.spectrum(x).abs()
        loudest = size.flatten(1).amax(1).clamp(min=torch.finfo(x.dtype).tiny).reshape(-1, 1, 1)
        level = LOUDEST + _decibels(size / loudest)
        heard = 10 ** (_global_threshold(level.transpose(1, 2), self._frequencies(x)).transpose(1, 2) / 20)
        return heard * loudest / 10 ** (LOUDEST / 20)

    def loudness(self, x0: Inputs, x: Inputs) -> Scores:
        """The change from x0 to x where it is heard most, as a share of the threshold: 1 is just not heard, float64."""
        x0 = x0.double()
        x = x.double()
        return (self.spectrum(x - x0).abs() / self.threshold(x0)).flatten(1).amax(1)

    def _hann(self, like: Tensor) -> Tensor:
        return torch.hann_window(self.window, dtype=like.dtype, device=like.device)

    def _frequencies(self, like: Tensor) -> Tensor:
        return torch.linspace(0, self.rate / 2, self.window // 2 + 1, dtype=like.dtype, device=like.device)


@final
@dataclass(frozen=True)
class FrequencyMasking(Transformation):
    """A sound added to a sound, below what the ear hears beside it (Qin et al. 2019, arXiv:1903.10346, section 3.2).

    Parameters: real and imaginary part of its spectrum, each as a share of what may not be heard. Where frames overlap
    the shares add up, so the whole is made fainter until no place of it exceeds the largest share. The paper has a
    penalty for what is heard; here it is a limit: parameters up to 10 ** (-6 / 20) are 6 dB below the threshold
    everywhere. Where the sound that results leaves the box
    it is cut, which is heard: leave some room, such as a peak of 0.9.
    """

    ear: Ear = Ear(16000, 2048)

    def count(self, shape: tuple[int, ...]) -> int:
        return 2 * (self.ear.window // 2 + 1) * (1 + shape[0] // self.ear.hop)

    def __call__(self, x: Inputs, parameters: Parameters) -> Inputs:
        with torch.no_grad():
            threshold = self.ear.threshold(x)
            most = _least_nearby(threshold)
        real, imaginary = parameters.unflatten(1, (2, *most.shape[1:])).unbind(1)
        added = self.ear.sound(torch.complex(most * real, most * imaginary), x.shape[1])
        largest = parameters.abs().amax(1)
        heard = (self.ear.spectrum(added).abs() / threshold).flatten(1).amax(1)
        fainter = torch.where(heard > largest, largest / torch.where(heard > 0, heard, 1.0), 1.0)
        return x + fainter.unsqueeze(1) * added


def _global_threshold(level: Float[Tensor, "batch frames bins"], frequencies: Float[Tensor, " bins"]) -> Tensor:
    """The masking threshold of each frame in dB: that of hearing and those of all maskers, their powers added."""
    quiet = _quiet(frequencies)
    bark = _bark(frequencies)
    power = 10 ** (level / 10)
    smooth = _decibels(functional.avg_pool1d(functional.pad(power, (1, 1)), 3, 1) * 3) / 2
    left = level[..., :-2]
    right = level[..., 2:]
    peak = functional.pad((level[..., 1:-1] > left) & (level[..., 1:-1] > right), (1, 1))
    masker = torch.where(peak & (smooth > quiet), smooth, -torch.inf)
    masker, at = masker.topk(min(MASKERS, masker.shape[-1]), dim=-1)
    z = bark[at]
    beside = (z.unsqueeze(-1) - z.unsqueeze(-2)).abs() < 0.5
    weaker = (beside & (masker.unsqueeze(-2) > masker.unsqueeze(-1))).any(-1)
    masker = torch.where(weaker, -torch.inf, masker)
    total = (10 ** (quiet / 10)).expand_as(level)

    for each, place in zip(masker.unbind(-1), z.unbind(-1), strict=True):
        each = each.unsqueeze(-1)
        away = bark - place.unsqueeze(-1)
        upward = -27 + 0.37 * (each - 40).clamp(min=0)
        spread = torch.where(away > 0, upward * away, 27 * away)
        total = total + 10 ** ((each - 6.025 - 0.275 * place.unsqueeze(-1) + spread) / 10)

    return 10 * total.log10()


def _least_nearby(threshold: Spectrum) -> Spectrum:
    """The least threshold of the frames that overlap with each and of the bins beside it, into which it spills."""
    return -functional.max_pool2d(-threshold.unsqueeze(1), (3, 7), 1, (1, 3)).squeeze(1)


def _quiet(frequencies: Tensor) -> Tensor:
    """The absolute threshold of hearing in dB, less 12 as in the paper's code; below 20 Hz that of 20 Hz."""
    khz = frequencies.clamp(min=20) / 1000
    return 3.64 * khz**-0.8 - 6.5 * torch.exp(-0.6 * (khz - 3.3) ** 2) + 0.001 * khz**4 - 12


def _bark(frequencies: Tensor) -> Tensor:
    """The critical band rate."""
    return 13 * torch.atan(0.00076 * frequencies) + 3.5 * torch.atan((frequencies / 7500) ** 2)


def _decibels(size: Tensor) -> Tensor:
    return 20 * size.clamp(min=1e-10).log10()
