"""Arrays as pictures that sit in a page: PNG data URIs, small enough that a page of 64 examples stays small."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 96
"""Pixels along the longer side, at most; a larger image is drawn smaller."""

BUDGET = 2_200_000
"""Bytes of all data URIs of one page, at most; where pictures compress badly, all are drawn smaller."""

Pixels = NDArray[np.float64]
"""(1 or 3, height, width)."""

_RESAMPLING = (Image.Resampling.BOX, Image.Resampling.BOX, Image.Resampling.NEAREST)
"""Of original, witness, difference: the mean of a difference would hide what alternates in sign."""


@final
@dataclass(frozen=True)
class Triptych:
    """An example, its witness, and what was done to it: `factor` times the difference, around mid-grey.

    size: (width, height) of the original.
    """

    original: Image.Image
    witness: Image.Image
    difference: Image.Image
    factor: int
    size: tuple[int, int]

    @property
    def images(self) -> tuple[Image.Image, Image.Image, Image.Image]:
        return self.original, self.witness, self.difference

    @property
    def reduced(self) -> bool:
        """Whether it is drawn smaller than it is."""
        return max(self.size) > SIDE


def is_image(shape: Sequence[int]) -> bool:
    """Whether an array of this shape is shown as a picture."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 1


def triptych(x0: Pixels, x: Pixels, box: tuple[float, float] | None) -> Triptych:
    """Drawn with the box's low as black and its high as white; without a box, by the values at hand."""
    low, high = box or (float(min(x0.min(), x.min())), float(max(x0.max(), x.max())))
    scale = 255 / (high - low) if high > low else 1.0
    difference = (x - x0) * scale
    most = float(np.abs(difference).max())
    factor = max(1, int(120 / most)) if most > 0 else 1
    return Triptych(
        _image((x0 - low) * scale, _RESAMPLING[0]),
        _image((x - low) * scale, _RESAMPLING[1]),
        _image(128 + factor * difference, _RESAMPLING[2]),
        factor,
        (x0.shape[2], x0.shape[1]),
    )


def data_uris(triptychs: Sequence[Triptych]) -> list[tuple[str, ...]]:
    """Three data URIs each: at full size if they keep to the budget together, else smaller."""
    drawn: list[tuple[str, ...]] = []
    for side in (SIDE, 64, 48, 32):
        drawn = [
            tuple(_uri(_reduced(i, side, how)) for i, how in zip(t.images, _RESAMPLING, strict=True)) for t in triptychs
        ]
        if sum(len(uri) for uris in drawn for uri in uris) <= BUDGET:
            break
    return drawn


def _image(values: Pixels, resampling: Image.Resampling) -> Image.Image:
    pixels = np.nan_to_num(values).round().clip(0, 255).astype(np.uint8)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return _reduced(image, SIDE, resampling)


def _reduced(image: Image.Image, side: int, resampling: Image.Resampling) -> Image.Image:
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(side * length / longest)) for length in image.size)
    return image.resize((width, height), resampling)


def _uri(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
