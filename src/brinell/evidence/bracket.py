"""The bracket: [what a proof guarantees, what no attack has yet refuted], from per-example states."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from brinell.evidence.interval import wilson
from brinell.evidence.verdict import State


@final
@dataclass(frozen=True)
class Bracket:
    """How many of the examples are in each state. probable_count: of the certified, those that chance may spoil.

    The fractions are over the examples that could be asked: an error is neither robust nor broken, and is counted
    apart. With none to ask they are NaN, so that no comparison with them succeeds.
    """

    broken_count: int
    certified_count: int
    open_count: int
    errors: int = 0
    probable_count: int = 0

    @classmethod
    def of(cls, states: Iterable[State]) -> "Bracket":
        count = Counter(states)
        return cls(count[State.BROKEN], count[State.CERTIFIED], count[State.OPEN], count[State.ERROR])

    @property
    def n(self) -> int:
        """The examples that could be asked."""
        return self.broken_count + self.certified_count + self.open_count

    @property
    def certified(self) -> float:
        """The lower edge: the fraction proved. Robust accuracy on these examples is at least this."""
        return self._fraction(self.certified_count)

    @property
    def unbroken(self) -> float:
        """The upper edge: the fraction not yet broken. Robust accuracy on these examples is at most this."""
        return self._fraction(self.n - self.broken_count)

    @property
    def open(self) -> float:
        """The width: the fraction neither proved nor broken."""
        return self._fraction(self.open_count)

    def certified_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """What sampling leaves uncertain about the lower edge: its Wilson interval."""
        return wilson(self.certified_count, self.n, confidence)

    def unbroken_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """What sampling leaves uncertain about the upper edge: its Wilson interval."""
        return wilson(self.n - self.broken_count, self.n, confidence)

    def _fraction(self, count: int) -> float:
        return count / self.n if self.n else float("nan")
