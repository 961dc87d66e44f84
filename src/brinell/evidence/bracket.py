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
    """How many of n examples are in each state.

    The fractions are over the examples that could be asked: an error is neither robust nor broken, and is counted
    apart. With none to ask, both edges are NaN, so that no comparison with them succeeds.
    """

    broken: int
    certified: int
    open: int
    errors: int = 0

    @classmethod
    def of(cls, states: Iterable[State]) -> "Bracket":
        count = Counter(states)
        return cls(count[State.BROKEN], count[State.CERTIFIED], count[State.OPEN], count[State.ERROR])

    @property
    def n(self) -> int:
        """The examples that could be asked."""
        return self.broken + self.certified + self.open

    @property
    def lower(self) -> float:
        """The certified fraction: robust accuracy is at least this on the sample."""
        return self.certified / self.n if self.n else float("nan")

    @property
    def upper(self) -> float:
        """The unbroken fraction: robust accuracy is at most this on the sample."""
        return 1 - self.broken / self.n if self.n else float("nan")

    def lower_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The Wilson interval of the certified fraction."""
        return wilson(self.certified, self.n, confidence)

    def upper_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The Wilson interval of the unbroken fraction."""
        return wilson(self.n - self.broken, self.n, confidence)
