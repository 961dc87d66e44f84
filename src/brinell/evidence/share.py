"""So many of so many: a count with the uncertainty that its sample leaves."""

from dataclasses import dataclass
from typing import final

from brinell.errors import UsageError
from brinell.evidence.interval import wilson


@final
@dataclass(frozen=True)
class Share:
    """count of `of` examples. Of none, the rate is NaN and the interval everything."""

    count: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.of:
            raise UsageError(f"count is {self.count} of {self.of}; it must be from 0 to that")

    @property
    def rate(self) -> float:
        """The fraction."""
        return self.count / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the fraction."""
        return wilson(self.count, self.of)
