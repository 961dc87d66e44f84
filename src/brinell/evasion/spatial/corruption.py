"""Natural corruptions at five severities (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Images are (channels, rows, columns) in [0, 1]. The kinds are all nineteen of the benchmark, the last four of which it
holds back, and the severities those of CIFAR-10-C: made for images of 32 pixels, too mild for large ones. Blurs,
weather, JPEG and noise follow the definitions and not the libraries of the authors, and frost is drawn where they have
photographs, so figures are near theirs and not equal. This is what a model meets without an adversary: it gives an
accuracy and no verdict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import final

import torch

from brinell.errors import UsageError
from brinell.evasion.spatial.corruptions.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from brinell.evasion.spatial.corruptions.digital import brightness, contrast, elastic, jpeg, pixelate, saturate
from brinell.evasion.spatial.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from brinell.evasion.spatial.corruptions.weather import fog, frost, snow, spatter
from brinell.evidence.interval import wilson
from brinell.targets import Target
from brinell.types import Inputs, Labels

CORRUPTIONS: dict[str, Callable[[Inputs, int, torch.Generator], Inputs]] = {
    "gaussian noise": gaussian_noise,
    "shot noise": shot_noise,
    "impulse noise": impulse_noise,
    "defocus blur": defocus_blur,
    "glass blur": glass_blur,
    "motion blur": motion_blur,
    "zoom blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic": elastic,
    "pixelate": pixelate,
    "jpeg": jpeg,
    "speckle noise": speckle_noise,
    "gaussian blur": gaussian_blur,
    "spatter": spatter,
    "saturate": saturate,
}
"""Each corruption by its name: (images, severity - 1, generator) -> images. The first fifteen are the benchmark's."""

BENCHMARK = tuple(CORRUPTIONS)[:15]
SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(x: Inputs, kind: str, severity: int, seed: int = 0) -> Inputs:
    """Images after one corruption. kind: a key of CORRUPTIONS. severity: 1 to 5."""
    if kind not in CORRUPTIONS:
        raise UsageError(f"corruption is {kind!r}; it must be one of {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise UsageError(f"severity is {severity}; it must be 1 to 5")
    if x.dim() != 4:
        raise UsageError(f"an example has shape {tuple(x.shape[1:])}; corruptions need (channels, rows, columns)")
    return CORRUPTIONS[kind](x, severity - 1, torch.Generator(x.device).manual_seed(seed)).clamp(0, 1)


@final
@dataclass(frozen=True)
class CorruptedAccuracy:
    """How many of `n` images a target got right: as they are, and under each corruption at severities 1 to 5."""

    n: int
    clean: int
    right: dict[str, tuple[int, ...]]

    def accuracy(self, kind: str, severity: int) -> float:
        """A fraction of the images."""
        return self.right[kind][severity - 1] / self.n

    def interval(self, kind: str, severity: int, confidence: float = 0.95) -> tuple[float, float]:
        """What that fraction says of images that were not drawn (Wilson)."""
        return wilson(self.right[kind][severity - 1], self.n, confidence)

    @property
    def mean(self) -> float:
        """Over all corruptions and severities."""
        return mean(self.accuracy(kind, severity) for kind in self.right for severity in SEVERITIES)

    def mean_corruption_error(self, other: "CorruptedAccuracy") -> float:
        """mCE: the errors under each corruption over those of another target, averaged over what both were asked.

        1 where they are as good; the paper compares with AlexNet.
        """
        kinds = [kind for kind in self.right if kind in other.right]
        return mean(self._errors(kind) / max(other._errors(kind), 1 / other.n) for kind in kinds)

    def _errors(self, kind: str) -> float:
        return sum(1 - self.accuracy(kind, severity) for severity in SEVERITIES)

    def __str__(self) -> str:
        """A table of accuracies; the last row is of the images as they are, with its interval."""
        rows = [f"{'accuracy, %':<16}" + "".join(f"{severity:>7}" for severity in SEVERITIES) + "   mean"]
        for kind in self.right:
            each = [100 * self.accuracy(kind, severity) for severity in SEVERITIES]
            rows.append(f"{kind:<16}" + "".join(f"{value:>7.1f}" for value in (*each, mean(each))))
        low, high = wilson(self.clean, self.n)
        rows.append(f"{'none':<16}{100 * self.clean / self.n:>7.1f}   95 %: {100 * low:.1f} to {100 * high:.1f}")
        return "\n".join(rows)


def corrupted_accuracy(
    target: Target, x: Inputs, y: Labels, kinds: Sequence[str] = BENCHMARK, seed: int = 0
) -> CorruptedAccuracy:
    """Ask a target about these images under each of these corruptions, at every severity. Labels are enough."""

    def right(x: Inputs) -> int:
        return int((target.labels(x) == y).sum())

    counts = {kind: tuple(right(corrupt(x, kind, severity, seed)) for severity in SEVERITIES) for kind in kinds}
    return CorruptedAccuracy(len(x), right(x), counts)
