"""How much of a target its adversary sees."""

from enum import IntEnum


class Access(IntEnum):
    """Each level holds the ones before it."""

    LABELS = 1
    """The decision only."""

    SCORES = 2
    """One number a class."""

    GRADIENTS = 3
    """Derivatives of the scores by the input."""

    WEIGHTS = 4
    """The network itself: what a proof needs."""
