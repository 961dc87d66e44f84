"""Step rules: how the gradients of a run become moves, and where each of them is taken."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch

from brinell.arguments import Checked, Portion
from brinell.evasion.gradient.modifier import Ask, here
from brinell.evasion.gradient.sparse import leading
from brinell.evasion.hunt import Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs


class StepRule(Checked, ABC):
    """Asks for the gradients of a run and turns each into a move."""

    @abstractmethod
    def begin(self, hunt: Hunt, ask: Ask, step: float) -> Callable[[], Inputs]:
        """The rule for one run of `hunt`: each call asks for a gradient and returns a move of length one.

        step: what the attack will multiply the move by. What the rule remembers of each example shrinks with the hunt.
        """


@final
@dataclass(frozen=True)
class Plain(StepRule):
    """The steepest move along the gradient at x."""

    def begin(self, hunt: Hunt, ask: Ask, step: float) -> Callable[[], Inputs]:
        return lambda: hunt.set.steepest(ask(here)[1])


@final
@dataclass(frozen=True)
class Momentum(StepRule):
    """The steepest move along a decaying sum of l1-normalised gradients (Dong et al. 2018, arXiv:1710.06081, eq. 6).

    decay: the paper's mu.
    """

    decay: float = 1.0

    def begin(self, hunt: Hunt, ask: Ask, step: float) -> Callable[[], Inputs]:
        velocity = hunt.carry(_Velocity(torch.zeros_like(hunt.x)))

        def move() -> Inputs:
            _, g = ask(here)
            return hunt.set.steepest(velocity.add(self.decay, g))

        return move


@final
@dataclass(frozen=True)
class Nesterov(StepRule):
    """Momentum, its gradients taken where the momentum alone would lead (Lin et al. 2020, arXiv:1908.06281, eq. 6).

    decay: the paper's mu. The gradient is taken at x + step * decay * sum. As eq. 7 normalises it, the sum is so small
    that this would be x; here, as in the authors' code, it is scaled to be as large (in l1) as the move along it.
    """

    decay: float = 1.0

    def begin(self, hunt: Hunt, ask: Ask, step: float) -> Callable[[], Inputs]:
        velocity = hunt.carry(_Velocity(torch.zeros_like(hunt.x)))

        def ahead(x: Inputs) -> Inputs:
            size = _l1(hunt.set.steepest(velocity.sum))
            return x + step * self.decay * over_features(size, x) * velocity.sum

        def move() -> Inputs:
            _, g = ask(ahead)
            return hunt.set.steepest(velocity.add(self.decay, g))

        return move


@final
@dataclass(frozen=True)
class SparseStep(StepRule):
    """The signs of the largest gradients, those of others zero (Tramer and Boneh 2019, arXiv:1904.13000, section 3).

    share: of the features, that move; the paper's 1 - q. Features that lead out of the box are left out.
    """

    share: Portion = 0.01

    def begin(self, hunt: Hunt, ask: Ask, step: float) -> Callable[[], Inputs]:
        def move() -> Inputs:
            _, g = ask(here)
            return leading(hunt, hunt.x, g, g.new_full((len(g),), self.share))

        return move


@dataclass
class _Velocity:
    sum: Inputs

    def add(self, decay: float, g: Inputs) -> Inputs:
        length = _l1(g).clamp(min=torch.finfo(g.dtype).tiny)
        self.sum = decay * self.sum + g / over_features(length, g)
        return self.sum


def _l1(x: Inputs) -> torch.Tensor:
    return x.abs().flatten(1).sum(1)
