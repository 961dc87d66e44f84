"""alpha-CROWN: CROWN with the slopes of its lower bounds improved by gradient ascent.

Source: Xu et al. 2021, arXiv:2011.13824, section 3.
"""

from dataclasses import dataclass
from typing import final

import torch

from brinell.threat import PerturbationSet
from brinell.types import Inputs
from brinell.verify.freedom import Climb, ascend, first
from brinell.verify.graph import Graph
from brinell.verify.problem import Problem, solve, sound
from brinell.verify.relaxation import best, relax
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing


@final
@dataclass(frozen=True, kw_only=True)
class AlphaCROWN(Verifier):
    """Each row has slopes of its own and keeps its best bound; an example leaves when all its rows are positive.

    The neurons inside are bounded as CROWN bounds them: the paper improves their slopes too. memory: bytes, about,
    that it may take.
    """

    climb: Climb = Climb(steps=20, patience=2)
    memory: int = 2**24

    def __call__(
        self, graph: Graph, x0: Inputs, set: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, set, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        graph = problem.graph
        relaxed = relax(problem, "adaptive", substituted=True)
        bounds = best(problem, relaxed)
        left = (~(bounds > 0).all(1)).nonzero().squeeze(1)
        intervals = [(low[left], high[left]) for low, high in relaxed.intervals]
        improved, _, _ = ascend(problem.only(left), first(graph, intervals, bounds.shape[1]), self.climb)
        bounds[left] = torch.where(improved > bounds[left], improved, bounds[left])
        return sound(relaxed.intervals, bounds)
