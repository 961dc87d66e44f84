"""alpha-CROWN: CROWN with the slopes of its lower bounds improved by gradient ascent.

Source: Xu et al. 2021, arXiv:2011.13824, section 3.
"""

from dataclasses import dataclass
from typing import final

import torch

from brinell.errors import UsageError
from brinell.threat import PerturbationSet
from brinell.types import Inputs
from brinell.verify.freedom import Climb, ascend, first
from brinell.verify.graph import Graph
from brinell.verify.problem import Problem, solve, sound
from brinell.verify.relaxation import best, linear_model, relax
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing


@final
@dataclass(frozen=True, kw_only=True)
class AlphaCROWN(Verifier):
    """Each row has slopes of its own and keeps its best bound; an example leaves when all its rows are positive.

    The neurons inside are bounded as CROWN bounds them: the paper improves their slopes too. promise: gives up an
    example before that, its dearest work, where the network's linear model at x0 leaves a margin smaller than this
    share of what the bound by intervals inside misses zero by; None gives up none. memory: bytes, about, that it may
    take.
    """

    climb: Climb = Climb(steps=20, patience=2)
    promise: float | None = None
    memory: int = 2**24

    def __post_init__(self) -> None:
        if self.promise is not None and not 0 <= self.promise <= 1:
            raise UsageError(f"promise is {self.promise}; it must lie in [0, 1], or be None to give up none")

    def __call__(
        self, graph: Graph, x0: Inputs, set: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, set, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        if self.promise is None:
            return _climbed(problem, self.climb)
        cheap = relax(problem, "adaptive", substituted=False)
        bounds = best(problem, cheap)
        hopeless = (bounds <= 0) & (linear_model(problem) < -self.promise * bounds)
        asked = ((bounds <= 0).any(1) & ~hopeless.any(1)).nonzero().squeeze(1)
        bounds = sound(cheap.intervals, bounds)
        if len(asked):
            bounds[asked] = torch.maximum(bounds[asked], _climbed(problem.only(asked), self.climb))
        return bounds


def _climbed(problem: Problem, climb: Climb) -> Margins:
    """CROWN's bounds, and those of each example improved that has a row which is not positive."""
    relaxed = relax(problem, "adaptive", substituted=True)
    bounds = best(problem, relaxed)
    left = (~(bounds > 0).all(1)).nonzero().squeeze(1)
    intervals = [(low[left], high[left]) for low, high in relaxed.intervals]
    improved, _, _ = ascend(problem.only(left), first(problem.graph, intervals, bounds.shape[1]), climb)
    bounds[left] = torch.where(improved > bounds[left], improved, bounds[left])
    return sound(relaxed.intervals, bounds)
