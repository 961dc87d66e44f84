"""A threat: what is allowed, what is wanted, what is seen, and how often it may be asked."""

from dataclasses import dataclass, replace
from typing import ClassVar, final

from brinell.access import Access
from brinell.arguments import Checked
from brinell.errors import UsageError
from brinell.threat.box import Box
from brinell.threat.goal import UNTARGETED, Goal
from brinell.threat.sets import PerturbationSet


@final
@dataclass(frozen=True)
class Threat(Checked):
    """What an adversary may do.

    set: the inputs allowed around each example. goal: what counts as success. access: the most the adversary sees;
    a target that shows less lowers it. queries: forward rows allowed an example and engine, None for no limit; an input
    gradient costs one forward row and one gradient row.
    """

    instead: ClassVar[str] = "make it one: brinell.Threat(brinell.Linf(0.1))"
    set: PerturbationSet
    goal: Goal = UNTARGETED
    access: Access = Access.WEIGHTS
    queries: int | None = None

    def __post_init__(self) -> None:
        if self.queries is not None and self.queries < 1:
            raise UsageError(f"queries is {self.queries}; it must be at least 1, or None for no limit")

    def within(self, box: Box) -> "Threat":
        """The same threat, its set meeting `box`."""
        return replace(self, set=self.set.within(box))

    def at(self, radius: float) -> "Threat":
        """The same threat at another radius."""
        return replace(self, set=self.set.resized(radius))
