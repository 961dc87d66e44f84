"""The rules for bare arrays of numbers: which float they become, and where an image's channels go."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]

CHANNELS = (1, 3, 4)
"""Greyscale, colour, colour with transparency."""


SCALED = "uint8 / 255"
"""What is done to pixels."""


def as_floats(x: NDArray[Any]) -> tuple[Floats, str | None]:
    """(a copy of real numbers as float32 or float64, what was done to them).

    Three axes or more are images or signals and become float32; uint8 there is pixels and is divided by 255.
    Two axes are a table: its numbers stay, in float32 if that holds every value of the type, else in float64.
    """
    if x.ndim >= 3 and x.dtype == np.uint8:
        return x.astype(np.float32) / np.float32(255), SCALED
    exact = np.promote_types(x.dtype, np.float32)
    # A value too large for its new type becomes infinite, which the data set then reports with its row.
    with np.errstate(over="ignore"):
        if x.ndim >= 3 or exact == np.float32:
            return x.astype(np.float32, order="C"), None
        return x.astype(np.float64, order="C"), None


def channels_first(x: NDArray[Any]) -> NDArray[Any]:
    """Images from a file, as (n, channels, height, width).

    (n, h, w) gets a channel axis. (n, h, w, c) with c of 1, 3 or 4 is moved, unless the second axis could be
    the channels: then it is taken to be in place. Anything else is left alone.
    """
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS:
        return np.moveaxis(x, 3, 1)
    return x
