"""Units: powers of two in which a box, or what is known of one, is about one wide.

Robustness does not depend on the units of an input. Powers of two are exact in floating point, so that a problem
multiplied by one is the same problem to the last bit.
"""

from math import log2

from torch import Tensor

from brinell.types import Inputs

_SPREAD = 4.0
"""The width of a uniform distribution over its median distance from the middle."""


def power_of_two(size: float) -> float:
    """The power of two nearest to `size` > 0, by ratio."""
    return float(2.0 ** round(log2(size)))


def median_width(low: Tensor, high: Tensor) -> float | None:
    """The median side of a box of features, over those with two ends; None without any."""
    width = (high - low).double().flatten()
    width = width[width.isfinite()]
    return float(width.median()) if len(width) else None


def typical_width(x: Inputs) -> float | None:
    """How wide a box around these values would be, told by the bulk of them; None where they are all zero."""
    values = x.double().flatten()
    if not len(values):
        return None
    deviation = _SPREAD * float((values - values.median()).abs().median())
    return deviation or float(values.abs().max()) or None
