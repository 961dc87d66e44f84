"""Step rules: how a gradient becomes a direction."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch

from brinell.evasion.hunt import Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs


class StepRule(ABC):
    """Turns each gradient of a run into the direction to move in."""

    @abstractmethod
    def begin(self, hunt: Hunt) -> Callable[[Inputs], Inputs]:
        """The rule for one run of `hunt`; what it remembers of each example shrinks with the hunt."""


@final
@dataclass(frozen=True)
class Plain(StepRule):
    """The gradient itself."""

    def begin(self, hunt: Hunt) -> Callable[[Inputs], Inputs]:
        return lambda g: g


@final
@dataclass(frozen=True)
class Momentum(StepRule):
    """A decaying sum of l1-normalised gradients (Dong et al. 2018, arXiv:1710.06081, eq. 6).

    decay: the paper's mu.
    """

    decay: float = 1.0

    def begin(self, hunt: Hunt) -> Callable[[Inputs], Inputs]:
        memory = hunt.carry(_Velocity(torch.zeros_like(hunt.x)))

        def direction(g: Inputs) -> Inputs:
            length = g.abs().flatten(1).sum(1).clamp(min=torch.finfo(g.dtype).tiny)
            memory.sum = self.decay * memory.sum + g / over_features(length, g)
            return memory.sum

        return direction


@dataclass
class _Velocity:
    sum: Inputs
