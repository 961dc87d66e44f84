"""The best point of a run so far, to which a search may return."""

from dataclasses import dataclass
from typing import final

import torch

from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores


@final
@dataclass
class Best:
    """The point of each example where the objective was largest, its gradient there, and its value."""

    x: Inputs
    gradient: Inputs
    value: Scores

    @classmethod
    def none(cls, x: Inputs) -> "Best":
        """Before the first."""
        return cls(x.clone(), torch.zeros_like(x), x.new_full((len(x),), -torch.inf))

    def note(self, x: Inputs, g: Inputs, value: Scores) -> None:
        """Keep what is better than all before."""
        better = value > self.value
        rows = better.nonzero().flatten()
        for kept, new in ((self.x, x), (self.gradient, g)):
            kept.index_copy_(0, rows, new.index_select(0, rows))
        # A new tensor: whoever holds the value of an earlier moment keeps it.
        self.value = torch.where(better, value.to(self.value.dtype), self.value)

    def back(self, rows: Mask, x: Inputs, g: Inputs) -> tuple[Inputs, Inputs]:
        """(x, g), with these rows at their best."""
        if not rows.any():
            return x, g
        back = over_features(rows, x)
        return torch.where(back, self.x, x), torch.where(back, self.gradient, g)
