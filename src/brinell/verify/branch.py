"""Branch and bound: what one relaxation cannot show is split at a neuron into two cases, each easier.

Sources: Bunel et al. 2020, arXiv:1909.06588, algorithm 1; the cases are bounded by beta-CROWN (Wang et al. 2021,
arXiv:2103.06624), with the limits of the neurons inside found once, at the root.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.threat import PerturbationSet
from brinell.types import Inputs
from brinell.verify.branching import choose, split
from brinell.verify.cases import Cases, Shelf
from brinell.verify.freedom import Climb, ascend, first, holding
from brinell.verify.graph import Graph
from brinell.verify.problem import Problem, solve, sound
from brinell.verify.queue import Queue
from brinell.verify.refine import refined
from brinell.verify.relaxation import relax
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing

_SHELF = 2**31
"""Bytes of cases that may wait at one time; beyond, rows are given up."""


@final
@dataclass(frozen=True, kw_only=True)
class BranchAndBound(Verifier):
    """Splits ReLUs until every case of a row is positive, or the row has had its cases.

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

    def bound(self, problem: Problem) -> Margins:
        """The bounds of one chunk."""
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
            bounds = self._branch(problem, bounds[:, 0], shelf, cases)
        return sound(inside, bounds.reshape(examples, rows))

    def _branch(
        self, problem: Problem, bounds: Float[Tensor, " rows"], shelf: Shelf, cases: Cases
    ) -> Float[Tensor, " rows"]:
        """The bounds of all rows, once the cases of the open ones are dealt with."""
        least = bounds.index_fill(0, cases.owner, torch.inf)  # of the cases that are done with
        spent = torch.zeros(len(bounds), dtype=torch.int64)
        queue: Queue[Cases] = Queue(max(1, problem.rows(problem.graph.width) * len(bounds) // 2))
        queue.put(cases)
        while (batch := queue.take()) is not None:
            problem.checkpoint()
            lost = spent[batch.owner] >= (self.nodes if len(queue) * shelf.size < _SHELF else 0)
            least = least.scatter_reduce(0, batch.owner[lost], batch.bound[lost], "amin")
            batch = batch.only((~lost).nonzero().squeeze(1))
            if not len(batch.owner):
                continue
            asked, state = problem.only(batch.owner), shelf.take(batch)
            parent, state = split(state, choose(asked, state))
            owner = batch.owner[parent]
            found, left, state = ascend(asked.only(parent), state, self.leaf)
            bound = torch.maximum(found[:, 0], batch.bound[parent])
            spent += torch.bincount(owner, minlength=len(spent))
            done = torch.ones(len(owner), dtype=torch.bool).index_fill(0, left, False)
            least = least.scatter_reduce(0, owner[done], bound[done], "amin")
            queue.put(shelf.put(owner[left], bound[left], state))
        return least
