"""How many rounds of how many steps a search has, and how a step shrinks over it."""

from math import cos, pi


def cosine(step: int, steps: int, first: float, last: float) -> float:
    """From `first` at step 0 toward `last` at `steps`, along half a cosine."""
    return last + (first - last) * (1 + cos(pi * step / steps)) / 2
