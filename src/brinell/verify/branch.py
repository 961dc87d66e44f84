"""Branch and bound: what one relaxation cannot show is split at a neuron into two cases, each easier.

Sources: Bunel et al. 2020, arXiv:1909.06588, algorithm 1; the cases are bounded by beta-CROWN (Wang et al. 2021,
arXiv:2103.06624), with the limits of the neurons inside found once, at the root.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brinell.threat import PerturbationSet
from brinell.types import Inputs
from brinell.verify.branching import choose, split
from brinell.verify.freedom import Climb, State, ascend, first, holding
from brinell.verify.graph import Graph
from brinell.verify.problem import Problem, solve, sound
from brinell.verify.relaxation import relax
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing


@final
@dataclass(frozen=True, kw_only=True)
class BranchAndBound(Verifier):
    """Splits ReLUs until every case of a row is positive, or the row has had its cases.

    nodes: cases bounded a row, at most, about. root: the climb of the whole; leaf: that of a case, which starts
    where its parent's ended. A row that is given up keeps the least bound of its cases, no worse than the root's.
    Other bends than ReLUs are not split. memory: bytes, about, that it may take.
    """

    nodes: int = 200
    root: Climb = Climb(steps=30)
    leaf: Climb = Climb(steps=10)
    memory: int = 2**24

    def __call__(
        self, graph: Graph, x0: Inputs, set: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self.bound, graph, x0, set, spec, self.memory, checkpoint)

    def bound(self, problem: Problem) -> Margins:
        """The bounds of one chunk."""
        graph = problem.graph
        relaxed = relax(problem, "adaptive", substituted=True)
        examples, rows = problem.spec.shape[:2]
        owner = torch.arange(examples).repeat_interleave(rows)
        problem = problem.only(owner).asking(problem.spec.reshape(examples * rows, 1, -1))
        intervals = [(low[owner], high[owner]) for low, high in relaxed.intervals]
        bounds, left, state = ascend(problem, first(graph, intervals, 1), self.root)
        state = holding(graph, state)
        if any(bent.hold is not None for bent in state.values()):
            finite = bounds[left, 0].isfinite().nonzero().squeeze(1)
            cases = Cases(left, bounds[left, 0], state).only(finite)
            bounds = self._branch(problem, bounds[:, 0], cases)
        return sound(relaxed.intervals, bounds.reshape(examples, rows))

    def _branch(self, problem: Problem, bounds: Float[Tensor, " rows"], cases: "Cases") -> Float[Tensor, " rows"]:
        """The bounds of all rows, once the cases of the open ones are dealt with."""
        least = bounds.index_fill(0, cases.owner, torch.inf)  # of the cases that are done with
        spent = torch.zeros(len(bounds), dtype=torch.int64)
        wide = max(1, problem.rows(problem.graph.width) * len(bounds) // 2)
        while len(cases.owner):
            problem.checkpoint()
            worst = cases.bound.argsort()
            batch, rest = cases.only(worst[:wide]), cases.only(worst[wide:])
            asked = problem.only(batch.owner)
            choice = choose(asked, batch.state)
            parent, state = split(batch.state, choice)
            owner = batch.owner[parent]
            found, left, state = ascend(asked.only(parent), state, self.leaf)
            bound = torch.maximum(found[:, 0], batch.bound[parent])
            spent += torch.bincount(owner, minlength=len(spent))
            cases = rest.plus(Cases(owner[left], bound[left], state))
            lost = spent[cases.owner] >= self.nodes
            done = torch.ones(len(owner), dtype=torch.bool).index_fill(0, left, False)
            least = least.scatter_reduce(0, owner[done], bound[done], "amin")
            least = least.scatter_reduce(0, cases.owner[lost], cases.bound[lost], "amin")
            cases = cases.only((~lost).nonzero().squeeze(1))
        return least


@final
@dataclass(frozen=True, eq=False)
class Cases:
    """Parts of the rows' regions that are still to be proved. owner: the row each belongs to."""

    owner: Int64[Tensor, " cases"]
    bound: Float[Tensor, " cases"]
    state: State

    def only(self, chosen: Tensor) -> "Cases":
        """Some of them."""
        return Cases(self.owner[chosen], self.bound[chosen], {i: bent.only(chosen) for i, bent in self.state.items()})

    def plus(self, other: "Cases") -> "Cases":
        """Both."""
        return Cases(
            torch.cat((self.owner, other.owner)),
            torch.cat((self.bound, other.bound)),
            {i: bent.plus(other.state[i]) for i, bent in self.state.items()},
        )
