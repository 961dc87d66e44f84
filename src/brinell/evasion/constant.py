"""The constant that weighs the goal against the length of a perturbation, found by bisection for each example.

Source: Szegedy et al. 2014, arXiv:1312.6199, section 4.1; Carlini and Wagner 2017, arXiv:1608.04644.
"""

from dataclasses import dataclass

import torch

from brinell.types import Mask, Scores


@dataclass
class Constant:
    """value: the constant tried now. low, high: the largest that failed and the least that succeeded. won: whether this
    one has succeeded yet. All have one row an example.
    """

    value: Scores
    low: Scores
    high: Scores
    won: Mask

    @classmethod
    def begun(cls, value: Scores) -> "Constant":
        """Before the first search, which tries `value`."""
        none = torch.zeros_like(value)
        return cls(value, none, none + torch.inf, none > 0)

    def note(self, hits: Mask) -> None:
        """The goal is met where `hits`, so the constant under trial is large enough there."""
        self.won = self.won | hits

    def bisect(self, growth: float = 10.0) -> None:
        """Less where the goal was met, more elsewhere: the middle, or `growth` times as much until there is one."""
        self.high = torch.where(self.won, self.value, self.high)
        self.low = torch.where(self.won, self.low, self.value)
        self.value = torch.where(self.high.isinf(), growth * self.value, (self.low + self.high) / 2)
        self.won = torch.zeros_like(self.won)
