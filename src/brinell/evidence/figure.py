"""A figure: what gates, comparisons and tables read of an answer, with the interval that sampling leaves."""

from dataclasses import dataclass
from typing import final

from brinell.evidence.interval import clopper_pearson


@final
@dataclass(frozen=True)
class Figure:
    """One number of an answer, and how far the sample may be from all data like it.

    value: None where no example could be asked. low, high: the ends of a 95 % interval. count, n: of a fraction. lower,
    higher: why the truth may lie below, above what the interval says, such as an edge that no engine worked on; a gate
    that such a change would overturn is inconclusive. note: what it rests on besides.
    """

    value: float | None
    low: float
    high: float
    count: int | None = None
    n: int | None = None
    lower: tuple[str, ...] = ()
    higher: tuple[str, ...] = ()
    note: str = ""

    @classmethod
    def fraction(
        cls, count: int, n: int, lower: tuple[str, ...] = (), higher: tuple[str, ...] = (), note: str = ""
    ) -> "Figure":
        """count of n, with its Clopper-Pearson interval, whose coverage is never below what is claimed."""
        return cls(count / n if n else None, *clopper_pearson(count, n), count, n, lower, higher, note)
