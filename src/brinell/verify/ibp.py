"""Interval bound propagation.

Source: Gowal et al. 2018, arXiv:1810.12715, section 3.
"""

from dataclasses import dataclass
from typing import final

from brinell.threat import PerturbationSet
from brinell.threat.sets import least_over_box
from brinell.types import Inputs
from brinell.verify.graph import Graph
from brinell.verify.problem import Problem, solve, sound
from brinell.verify.relaxation import relax
from brinell.verify.substitution import substitute, written
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing


@final
@dataclass(frozen=True, kw_only=True)
class IBP(Verifier):
    """Intervals forward; the affine layers after the last bend are taken together with the specification.

    The cheapest proof: about two forward passes. memory: bytes, about, that it may take.
    """

    memory: int = 2**27

    def __call__(
        self, graph: Graph, x0: Inputs, set: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(_bound, graph, x0, set, spec, self.memory, checkpoint)


def _bound(problem: Problem) -> Margins:
    """Elision of the last layer (Gowal et al. 2018, section 3): no interval of the scores is formed."""
    graph = problem.graph
    relaxed = relax(problem, None, substituted=False)
    held, bounds = substitute(graph, graph.output, problem.spec, relaxed.pieces)
    for i, a in held.items():
        least = problem.least(a) if i == 0 else least_over_box(*relaxed.intervals[i], written(a))
        bounds = bounds + least
    return sound(relaxed.intervals, bounds)
