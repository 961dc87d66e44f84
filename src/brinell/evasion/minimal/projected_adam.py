"""A point of each example that Adam moves within its box."""

from brinell.evasion.adam import Adam
from brinell.evasion.hunt import Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores


class ProjectedAdam:
    """Projected Adam, for one run of `hunt`, from x0.

    Parts of a gradient that lead out of the box are left out, so that what Adam remembers is of moves that were made.
    """

    def __init__(self, hunt: Hunt) -> None:
        self._box = hunt.set.box
        self._at = hunt.carry(x=hunt.x0)
        self._adam = hunt.carry(Adam.none(hunt.x0))

    @property
    def x(self) -> Inputs:
        """Where it stands, in the box."""
        return self._at.x

    def begin(self, x: Inputs) -> None:
        """Go to x, with nothing remembered."""
        self._at.x = x
        self._adam.forget()

    def step(self, g: Inputs, length: Scores) -> None:
        """Up the gradient g, each feature by about `length`, in input units."""
        step = self._adam.step(self._box.inward(self._at.x, g))
        self._at.x = self._box.clamp(self._at.x + over_features(length.to(step.dtype), step) * step)
