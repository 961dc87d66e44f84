"""Confidence intervals for a fraction seen in a sample."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

from brinell.errors import UsageError

Integer = int | NDArray[np.int64]
Numbers = NDArray[np.float64]


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval (Wilson 1927): near its nominal coverage on average, narrow. (0, 1) for an empty sample."""
    _check(successes, n, confidence)
    if n == 0:
        return 0.0, 1.0
    z = float(norm.isf((1 - confidence) / 2))
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == n else (centre + spread) / scale
    return max(0.0, low), min(1.0, high)


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval (Clopper and Pearson 1934): coverage is never less than asked, so a gate may rest on it."""
    _check(successes, n, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.isf(tail, successes + 1, n - successes))
    return low, high


def at_least(successes: Integer, n: Integer, alpha: float) -> Numbers:
    """Lower bounds on chances, each wrong with probability at most alpha (Clopper and Pearson 1934)."""
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is {alpha}; it must lie between 0 and 1")
    low: Numbers = beta.ppf(alpha, np.maximum(successes, 1), np.asarray(n) - successes + 1)
    return np.where(np.asarray(successes) > 0, low, 0.0)


def _check(successes: int, n: int, confidence: float) -> None:
    if not 0 <= successes <= n:
        raise UsageError(f"successes is {successes} of {n}; it must be from 0 to n")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; it must lie between 0 and 1")
