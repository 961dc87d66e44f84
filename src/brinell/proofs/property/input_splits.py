"""Branch and bound by input splitting, for networks of few inputs.

A region is a polytope: a box cut by affine constraints, which are lower linear bounds of the property's rows and of
split neurons. Linear programmes bound the intermediate layers over it, show that it is empty, and clip its box (Zhou et
al. 2025, arXiv:2512.11087). How a region is cut is ours: the input is halved while many neurons are unstable, and where
few are left they are split, in the order of the layers. In the end a region is a star set (Tran et al. 2019,
doi:10.1007/978-3-030-30942-8_39), over which one linear programme is exact.
"""

from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.proofs.branching.cutting import branch, choose
from brinell.proofs.branching.queue import Queue
from brinell.proofs.branching.splits import Recorded
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Interval
from brinell.proofs.numerics.polytopes import Regions, clip, trimmed
from brinell.proofs.numerics.rounding import at_nodes
from brinell.proofs.numerics.simplex import AffineFunctions, excess, least
from brinell.proofs.property.witness import Counterexample, Search
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.progress import SearchProgress
from brinell.proofs.query.substitution import substitute, written
from brinell.proofs.query.verifier import Checkpoint
from brinell.proofs.relaxation.network import Relaxation, relax
from brinell.threat import Linf
from brinell.types import Mask

_POLISHED = 16
"""Points of each batch that a descent of the worst margin starts from."""


@final
@dataclass(frozen=True, kw_only=True)
class InputSplit:
    """Cuts regions until each is proved or a witness is found.

    batch: regions bounded at once. memory: bytes that functionals may take, about.
    """

    batch: int = 256
    memory: int = 2**25

    def __call__(
        self, search: Search, regions: Regions, checkpoint: Checkpoint, progress: SearchProgress | None = None
    ) -> tuple[bool, Counterexample | None]:
        """(whether every region is proved, a witness); (False, None) where an open region is too thin to be cut."""
        queue: Queue[Regions] = Queue(self.batch)
        queue.put(regions)
        progress = progress or SearchProgress()
        while (asked := queue.take()) is not None:
            progress.bound = min(queue.least, float(asked.bound.min()))
            checkpoint()

            # Bound: a region is proved where one row is positive throughout, or where its constraints are infeasible.
            problem = self._problem(search, asked, checkpoint)
            relaxed = relax(problem, "adaptive", substituted=True, known=asked.known)
            rows, recorded, sane = _rows(problem, relaxed)
            bound = least(rows, rows.part(slice(0)), asked.low, asked.high).amax(1).where(sane, -torch.inf)
            constraints = rows.plus(asked.constraints)
            infeasible, multipliers, point = excess(constraints, asked.low, asked.high)
            left = (~((bound > 0) | (infeasible > 0))).nonzero().squeeze(1)
            if not len(left):
                continue

            # Search for a witness.
            found = _witness(search, asked.only(left), point[left])
            if found is not None:
                return False, found

            # Clip the open regions, and branch.
            intervals = [(low[left], high[left]) for low, high in relaxed.intervals]
            known = _inherited(search.graph, intervals)
            bound = torch.maximum(asked.bound, bound)[left]
            open_ = clip(replace(asked.only(left), bound=bound, known=known), constraints.only(left))
            open_ = trimmed(replace(open_, rows=rows.only(left)))
            problem = self._problem(search, open_, checkpoint)
            weight = _weights(multipliers[left, : len(rows)])
            cut = choose(problem, intervals, {i: one.only(left) for i, one in recorded.items()}, weight)
            if not cut.possible.all():
                return False, None
            queue.put(branch(problem, intervals, open_, cut))
        return True, None

    def _problem(self, search: Search, asked: Regions, checkpoint: Checkpoint) -> Problem:
        """The rows of each region's case, over its box and under its constraints."""
        graph = search.graph
        low, high = (end.reshape(-1, *graph.nodes[0].shape) for end in (asked.low, asked.high))
        spec = torch.eye(graph.classes, dtype=torch.float64)[search.rows[asked.case]]
        constraints = asked.constraints if len(asked.constraints) else None
        return Problem(graph, (low + high) / 2, Linf(1.0), spec, self.memory, checkpoint, (low, high), constraints)


def _rows(problem: Problem, relaxed: Relaxation) -> tuple[AffineFunctions, dict[int, Recorded], Mask]:
    """(a lower linear bound of each row, less its rounding; the relaxations, with their coefficients; validity).

    A region is not valid where an interval is crossed, or a number NaN or infinite: its bounds are zeros, which cut
    nothing off.
    """
    graph = problem.graph
    recorded = {i: Recorded(relaxed.relaxations[i]) for i in graph.nonlinearities}
    held, constant = substitute(graph, graph.output, problem.spec, {**relaxed.relaxations, **recorded})
    weights = written(held[0]) if 0 in held else torch.zeros_like(problem.x0).unsqueeze(1)
    error = at_nodes(graph, relaxed.intervals)[graph.output].unsqueeze(1)
    offset = constant - (problem.spec.abs() * error).sum(2)
    weights = weights.flatten(2).expand(*offset.shape, -1)
    sane = torch.stack([(low <= high).flatten(1).all(1) for low, high in relaxed.intervals]).all(0)
    sane &= offset.isfinite().all(1) & weights.isfinite().flatten(1).all(1)
    kept = sane.unsqueeze(1)
    return AffineFunctions(weights.where(kept.unsqueeze(2), 0.0), offset.where(kept, 0.0)), recorded, sane


def _inherited(graph: Graph, intervals: list[Interval]) -> dict[int, Interval]:
    """The intervals that the children of each region inherit: all, but none where every neuron is stable.

    Neurons may be stable under constraints that were dropped since, and unstable where the box reaches beyond them:
    there the region's own rows would not be exact, and it would never be proved.
    """
    unstable = torch.zeros(len(intervals[0][0]), dtype=torch.bool)
    for i in graph.pre_activations:
        unstable |= graph.unknown(i, intervals[i]).flatten(1).any(1)

    known = {}
    for i in graph.pre_activations:
        low, high = intervals[i]
        kept = unstable.reshape(-1, *(1 for _ in low.shape[1:]))
        known[i] = low.where(kept, -torch.inf), high.where(kept, torch.inf)
    return known


def _weights(multipliers: Float64[Tensor, "regions rows"]) -> Float64[Tensor, "regions rows"]:
    """The weight of each row in the choice of a cut: its share of the multipliers; 1 where all of them are zero."""
    total = multipliers.sum(1, keepdim=True)
    return (multipliers / total).where(total > 0, 1.0)


def _witness(search: Search, asked: Regions, points: Float64[Tensor, "regions inputs"]) -> Counterexample | None:
    """A witness among the minimisers of the linear bounds, the centres, and what a short descent from them finds."""
    points = torch.cat((points, (asked.low + asked.high) / 2))
    case = asked.case.repeat(2)
    best = search.worst(points, case).argsort()[:_POLISHED]
    points = points[best]
    case = case[best]
    return search.query(torch.cat((points, search.solve(points, case, 3, 0.05))), case.repeat(2))
