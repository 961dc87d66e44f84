"""Interval bound propagation.

Source: Gowal et al. 2018, arXiv:1810.12715, section 3.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, final

import torch

from brinell.evidence import Soundness
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Interval
from brinell.proofs.numerics.rounding import Precision, check_precision, is_kept, kept, trusted
from brinell.proofs.query.problem import Problem, solve, sound
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.network import Relaxation, elided, relax
from brinell.threat import PerturbationSet
from brinell.types import Inputs


@final
@dataclass(frozen=True, kw_only=True)
class IBP(Verifier):
    """Intervals, propagated forward; the affine layers after the last nonlinearity are merged into the specification.

    The least expensive proof: about two forward passes. precision: of the intervals. In float32 they are wider by its
    rounding, some 1e-4 of the values, and take a third of the time; float64 takes over where the set is no box, or the
    network has operators other than affine ones, ReLU and maxima. memory: bytes, about, that it may take. Raises
    UsageError for an unknown precision.
    """

    precision: Precision = "float64"
    memory: int = 2**24
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __post_init__(self) -> None:
        check_precision(self.precision)

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        dtype = trusted(self.precision) if x0.dtype.itemsize <= torch.float32.itemsize else torch.float64
        memory = self.memory * max(1, spec.shape[1])  # no functional is carried through the network
        return solve(partial(_bound, dtype=dtype), graph, x0, perturbation, spec, memory, checkpoint)


def _bound(problem: Problem, dtype: torch.dtype) -> Margins:
    graph = problem.graph
    if not problem.is_box or not all(is_kept(graph.operator(i)) for i in range(1, len(graph.nodes))):
        relaxed = relax(problem, None, substituted=False)
        return sound(relaxed.intervals, elided(problem, relaxed))
    # None of these operators makes a crossed interval of one that is not, and all pass a NaN on.
    return elided(problem, Relaxation(_intervals(problem.cast(dtype)), {**graph.affine}))


def _intervals(problem: Problem) -> list[Interval]:
    """Intervals of the last nonlinearities, in the problem's precision, sound in exact arithmetic.

    Those of other nodes are released once all their readers have been computed.
    """
    graph = problem.graph
    intervals = [problem.hull]
    for i in range(1, max(graph.last, default=0) + 1):
        intervals.append(kept(graph.operator(i), [intervals[j] for j in graph.nodes[i].inputs]))
        for j in graph.done[i]:  # memory that is reused at once is still in the cache
            intervals[j] = intervals[i]
    return intervals
