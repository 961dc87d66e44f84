"""Branch and bound: what one relaxation cannot show is split at a neuron into two cases, each easier.

Sources: Bunel et al. 2020, arXiv:1909.06588, algorithm 1; the cases are bounded by beta-CROWN (Wang et al. 2021,
arXiv:2103.06624), with the limits of the neurons inside found once, at the root.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from brinell.threat import PerturbationSet
from brinell.types import Inputs
from brinell.verify.branching import choose, split
from brinell.verify.cases import Cases, Shelf
from brinell.verify.encoding import encode
from brinell.verify.freedom import Climb, State, ascend, first, holding
from brinell.verify.graph import Graph, Unsupported
from brinell.verify.leaves import Least, least
from brinell.verify.problem import Problem, solve, sound
from brinell.verify.queue import Queue
from brinell.verify.refine import refined
from brinell.verify.relaxation import relax
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing

Look = Callable[[Float64[Tensor, "points inputs"]], None]
"""Is shown points, in flat order; it may raise, to stop."""


def unseen(points: Float64[Tensor, "points inputs"]) -> None:
    """For who wants bounds alone."""


_SHELF = 2**31
"""Bytes of cases that may wait at one time; beyond, rows are given up."""


@final
@dataclass(frozen=True, kw_only=True)
class BranchAndBound(Verifier):
    """Splits ReLUs until every case of a row is positive, one is not, or the row has had its cases.

    A case without a neuron left to split is a linear programme, and settled exactly (`leaves`).

    nodes: cases bounded a row, at most, about. inner: the climb of each neuron inside, once, at the root; None leaves
    them as CROWN bounds them. root: the climb of the whole; leaf: that of a case, which starts where its parent's
    ended. A row that is given up keeps the least bound of its cases, no worse than the root's. Other bends than ReLUs
    are not split. memory: bytes, about, that it may take, beside those of the cases that wait.
    """

    nodes: int = 200
    inner: Climb | None = None
    root: Climb = Climb(steps=30)
    leaf: Climb = Climb(steps=10, precision="float32")
    memory: int = 2**24

    def __call__(
        self, graph: Graph, x0: Inputs, set: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self.bound, graph, x0, set, spec, self.memory, checkpoint)

    def bound(self, problem: Problem, look: Look = unseen) -> Margins:
        """The bounds of one chunk. look: is shown inputs that may be witnesses of an open row."""
        graph = problem.graph
        relaxed = relax(problem, "adaptive", substituted=True)
        inside = relaxed.intervals if self.inner is None else refined(problem, relaxed, self.inner)
        examples, rows = problem.spec.shape[:2]
        owner = torch.arange(examples).repeat_interleave(rows)
        problem = problem.only(owner).asking(problem.spec.reshape(examples * rows, 1, -1))
        intervals = [(low[owner], high[owner]) for low, high in inside]
        bounds, left, state = ascend(problem, first(graph, intervals, 1), self.root)
        state = holding(graph, state)
        if any(bent.hold is not None for bent in state.values()):
            shelf = Shelf(graph, intervals)
            cases = shelf.put(left, bounds[left, 0], state)
            cases = cases.only(bounds[left, 0].isfinite().nonzero().squeeze(1))
            bounds = self._branched(problem, bounds[:, 0], shelf, cases, look)
        return sound(inside, bounds.reshape(examples, rows))

    def _branched(
        self, problem: Problem, bounds: Float[Tensor, " rows"], shelf: Shelf, cases: Cases, look: Look
    ) -> Float[Tensor, " rows"]:
        """The bounds of all rows, once the cases of the open ones are dealt with."""
        tally = _Tally(bounds.index_fill(0, cases.owner, torch.inf), torch.zeros(len(bounds), dtype=torch.int64))
        queue: Queue[Cases] = Queue(max(1, problem.rows(problem.graph.width) * len(bounds) // 2))
        queue.put(cases)
        while (batch := queue.take()) is not None:
            problem.checkpoint()
            lost = tally.spent[batch.owner] >= (self.nodes if len(queue) * shelf.size < _SHELF else 0)
            tally.close(batch.owner[lost], batch.bound[lost])
            batch = batch.only((~lost).nonzero().squeeze(1))
            asked, state = problem.only(batch.owner), shelf.take(batch)
            choice = choose(asked, state)
            whole = (~choice.found).nonzero().squeeze(1)
            for case in whole.tolist():
                row, lowest = batch.owner[case : case + 1], _lowest(asked, state, case)
                found = batch.bound[case : case + 1].clamp(min=lowest.bound)
                tally.close(row, found)
                if not found > 0:
                    tally.spent[row] = self.nodes  # the other cases cannot mend it
                    if lowest.x is not None:
                        look(lowest.x.unsqueeze(0))
            parts = choice.found.nonzero().squeeze(1)
            asked, batch = asked.only(parts), batch.only(parts)
            parent, state = split({i: bent.only(parts) for i, bent in state.items()}, choice.only(parts))
            owner = batch.owner[parent]
            found, left, state = ascend(asked.only(parent), state, self.leaf)
            bound = torch.maximum(found[:, 0], batch.bound[parent])
            tally.spent += torch.bincount(owner, minlength=len(tally.spent))
            done = torch.ones(len(owner), dtype=torch.bool).index_fill(0, left, False)
            tally.close(owner[done], bound[done])
            queue.put(shelf.put(owner[left], bound[left], state))
        return tally.least


@final
@dataclass(eq=False)
class _Tally:
    """What has come of each row. least: the least bound of its cases that are done with. spent: cases bounded."""

    least: Float[Tensor, " rows"]
    spent: Int64[Tensor, " rows"]

    def close(self, owner: Tensor, bound: Tensor) -> None:
        """Be done with cases of these bounds."""
        self.least = self.least.scatter_reduce(0, owner, bound, "amin")


def _lowest(problem: Problem, state: State, case: int) -> Least:
    """The exact minimum of a case whose neurons are all on a known side, over the hull of its inputs."""
    graph, one = problem.graph, slice(case, case + 1)
    low, high = problem.hull
    limits = {i: (bent.low[one], bent.high[one]) for i, bent in state.items()}
    side = {i: bent.hold.side[one] for i, bent in state.items() if bent.hold is not None}
    try:
        encoding = encode(graph, (low[one], high[one]), limits, side)
    except Unsupported:  # another bend, or too large: the case keeps the bound it has
        return Least(-torch.inf, None)
    return least(encoding, problem.spec[case, 0])
