"""Branch and bound for few inputs: a region that one relaxation cannot prove is cut in two.

A region is a box, of which only the part matters where some forms are not positive: linear bounds of the property's
rows, and of neurons that are held on a side. Linear programmes bound the neurons inside over that part, show that it is
empty, and clip the box to it (Zhou et al. 2025, arXiv:2512.11087). How a region is cut is ours: the input is halved
while many neurons are undecided, and where few are left they are held, in the order of the layers. So a region is a
star set in the end (Tran et al. 2019, doi:10.1007/978-3-030-30942-8_39), of which one linear programme is exact.
"""

from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.proofs.branching.cutting import branch, choose
from brinell.proofs.branching.queue import Queue
from brinell.proofs.branching.splits import Noted
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Interval
from brinell.proofs.numerics.polytopes import Regions, clip, trimmed
from brinell.proofs.numerics.rounding import at_nodes
from brinell.proofs.numerics.simplex import AffineFunctions, excess, least
from brinell.proofs.property.witness import Search, Witness
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.progress import Progress
from brinell.proofs.query.substitution import substitute, written
from brinell.proofs.query.verifier import Checkpoint
from brinell.proofs.relaxation.network import Relaxation, relax
from brinell.threat import Linf
from brinell.types import Mask

_POLISHED = 16
"""Points of each batch that a descent starts from."""


@final
@dataclass(frozen=True, kw_only=True)
class InputSplit:
    """Cuts regions until each is proved, or a witness is met. batch: regions bounded at once."""

    batch: int = 256
    memory: int = 2**25

    def __call__(
        self, search: Search, regions: Regions, checkpoint: Checkpoint, progress: Progress | None = None
    ) -> tuple[bool, Witness | None]:
        """(whether every region is proved, a witness). Neither where what is left is too thin to be cut."""
        queue: Queue[Regions] = Queue(self.batch)
        queue.put(regions)
        progress = progress or Progress()
        while (asked := queue.take()) is not None:
            progress.bound = min(queue.least, float(asked.bound.min()))
            checkpoint()
            problem = self._problem(search, asked, checkpoint)
            relaxed = relax(problem, "adaptive", substituted=True, known=asked.known)
            rows, noted, sane = _rows(problem, relaxed)
            bound = least(rows, rows.part(slice(0)), asked.low, asked.high).amax(1).where(sane, -torch.inf)
            constraints = rows.plus(asked.constraints)
            empty, multipliers, point = excess(constraints, asked.low, asked.high)
            left = (~((bound > 0) | (empty > 0))).nonzero().squeeze(1)
            if not len(left):
                continue
            found = _met(search, asked.only(left), point[left])
            if found is not None:
                return False, found
            intervals = [(low[left], high[left]) for low, high in relaxed.intervals]
            known = _lasting(search.graph, intervals)
            bound = torch.maximum(asked.bound, bound)[left]
            open_ = clip(replace(asked.only(left), bound=bound, known=known), constraints.only(left))
            open_ = trimmed(replace(open_, rows=rows.only(left)))
            problem = self._problem(search, open_, checkpoint)
            weight = _weighed(multipliers[left, : len(rows)])
            cut = choose(problem, intervals, {i: note.only(left) for i, note in noted.items()}, weight)
            if not cut.possible.all():
                return False, None
            queue.put(branch(problem, intervals, open_, cut))
        return True, None

    def _problem(self, search: Search, asked: Regions, checkpoint: Checkpoint) -> Problem:
        """Every row of each region's case."""
        graph = search.graph
        low, high = (end.reshape(-1, *graph.nodes[0].shape) for end in (asked.low, asked.high))
        spec = torch.eye(graph.classes, dtype=torch.float64)[search.rows[asked.case]]
        constraints = asked.constraints if len(asked.constraints) else None
        return Problem(graph, (low + high) / 2, Linf(1.0), spec, self.memory, checkpoint, (low, high), constraints)


def _rows(problem: Problem, relaxed: Relaxation) -> tuple[AffineFunctions, dict[int, Noted], Mask]:
    """(a form below each row, rounding allowed for; what each nonlinearity was given on the way; whether they mean it).

    They do not where an interval is crossed or something is not a number: there they are zeros, which clip nothing.
    """
    graph = problem.graph
    noted = {i: Noted(relaxed.relaxations[i]) for i in graph.nonlinearities}
    held, constant = substitute(graph, graph.output, problem.spec, {**relaxed.relaxations, **noted})
    weights = written(held[0]) if 0 in held else torch.zeros_like(problem.x0).unsqueeze(1)
    error = at_nodes(graph, relaxed.intervals)[graph.output].unsqueeze(1)
    offset = constant - (problem.spec.abs() * error).sum(2)
    weights = weights.flatten(2).expand(*offset.shape, -1)
    sane = torch.stack([(low <= high).flatten(1).all(1) for low, high in relaxed.intervals]).all(0)
    sane &= offset.isfinite().all(1) & weights.isfinite().flatten(1).all(1)
    kept = sane.unsqueeze(1)
    return AffineFunctions(weights.where(kept.unsqueeze(2), 0.0), offset.where(kept, 0.0)), noted, sane


def _lasting(graph: Graph, intervals: list[Interval]) -> dict[int, Interval]:
    """What the sides of each region keep of its intervals: all, and nothing where no neuron is undecided.

    Neurons may be decided by rows that were forgotten since, and are not where the box reaches beyond them: there the
    region's own rows are not exact, and it would never be proved.
    """
    undecided = torch.zeros(len(intervals[0][0]), dtype=torch.bool)
    for i in graph.pre_activations:
        undecided |= graph.unknown(i, intervals[i]).flatten(1).any(1)
    known = {}
    for i in graph.pre_activations:
        low, high = intervals[i]
        kept = undecided.reshape(-1, *(1 for _ in low.shape[1:]))
        known[i] = low.where(kept, -torch.inf), high.where(kept, torch.inf)
    return known


def _weighed(multipliers: Float64[Tensor, "regions rows"]) -> Float64[Tensor, "regions rows"]:
    """What each row counts for: its share in the sum that comes nearest to a proof; all the same where no row does."""
    total = multipliers.sum(1, keepdim=True)
    return (multipliers / total).where(total > 0, 1.0)


def _met(search: Search, asked: Regions, points: Float64[Tensor, "regions inputs"]) -> Witness | None:
    """A witness among points where the linear bounds are least, the centres, and what a short descent finds."""
    points, case = torch.cat((points, (asked.low + asked.high) / 2)), asked.case.repeat(2)
    best = search.worst(points, case).argsort()[:_POLISHED]
    points, case = points[best], case[best]
    return search.query(torch.cat((points, search.solve(points, case, 3, 0.05))), case.repeat(2))
