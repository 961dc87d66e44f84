"""Branch and bound over the phases of ReLUs, for many rows of a specification at once.

Bunel et al. 2020, arXiv:1909.06588, algorithm 1: the subproblem of the lowest bound is split first. Subproblems are
bounded by beta-CROWN (Wang et al. 2021, arXiv:2103.06624).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brinell.proofs.branching.queue import Queue
from brinell.proofs.branching.splits import choose, split
from brinell.proofs.branching.subproblems import DomainStore, Subproblems
from brinell.proofs.network.operators import Interval
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.progress import SearchProgress
from brinell.proofs.relaxation.optimised import Optimisation, State, first, optimise, with_splits
from brinell.types import Mask

_MOST_STORED = 2**31
"""Bytes that waiting subproblems may take; beyond that, rows are given up."""

_GIVEN_UP = 2**62
"""In `spent`: more subproblems than any limit on them."""


@final
@dataclass(eq=False)
class SearchTree:
    """The search for many rows at once.

    problem: with one row an example. intervals: of all nodes, for each row. root, leaf: how the bounds of rows and of
    subproblems are optimised; a subproblem starts from its parent's slopes and multipliers. most: an upper limit on the
    bound reported of a row.

    least: the lowest bound among each row's closed subproblems. spent: how many subproblems of a row were bounded.
    exhausted: rows whose exact minimum was met, so that no tighter bound exists. work: functionals times optimisation
    steps, so far.
    """

    problem: Problem
    intervals: list[Interval]
    root: Optimisation
    leaf: Optimisation
    most: float = torch.inf

    def __post_init__(self) -> None:
        self.store = DomainStore(self.problem.graph, self.intervals)
        rows = len(self.problem.x0)
        self.least: Float[Tensor, " rows"] = torch.full((rows,), torch.inf, dtype=torch.float64)
        self.spent: Int64[Tensor, " rows"] = torch.zeros(rows, dtype=torch.int64)
        self.exhausted: Mask = torch.zeros(rows, dtype=torch.bool)
        self.work = 0

    def roots(self) -> Subproblems:
        """The root subproblems of the rows that are neither proved nor without a neuron to split."""
        graph = self.problem.graph
        bounds, left, state = optimise(self.problem, first(graph, self.intervals, 1), self.root)
        state = with_splits(graph, state)
        self.work += len(bounds) * (self.root.steps + 1)
        self.least = bounds[:, 0].clone()
        if all(layer.splits is None for layer in state.values()):
            return self.store.put(left[:0], bounds[:0, 0], {i: layer.only(left[:0]) for i, layer in state.items()})

        subproblems = self.store.put(left, bounds[left, 0], state)
        subproblems = subproblems.only(subproblems.bound.isfinite().nonzero().squeeze(1))
        self.least[subproblems.owner] = torch.inf
        return subproblems

    def state(self, subproblems: Subproblems) -> tuple[Problem, State]:
        """(what is asked of the subproblems, the state of their relaxations)."""
        return self.problem.only(subproblems.owner), self.store.take(subproblems)

    def search(
        self,
        subproblems: Subproblems,
        nodes: int,
        settle: Callable[["SearchTree", Subproblems], Subproblems],
        *,
        size: int | None = None,
        enough: float = torch.inf,
        progress: SearchProgress | None = None,
    ) -> Int64[Tensor, " open"]:
        """Split and bound the subproblems until every row is closed or `enough` work was done; the rows still open.

        nodes: subproblems bounded a row, at most, about. settle: called with subproblems before they are split; it
        returns those to split, and closes the others. size: of a batch.
        """
        progress = progress or SearchProgress()
        half = self.problem.rows(self.problem.graph.width) * len(self.least) // 2
        queue: Queue[Subproblems] = Queue(size or max(1, half))
        queue.put(subproblems)
        enough += self.work
        while (batch := queue.take()) is not None:
            progress.bound = min(queue.least, float(batch.bound.min()), float(self.least.min()))
            self.problem.checkpoint()
            if self.work > enough:
                queue.put(batch)
                open_: Tensor = queue.rest().owner.unique()
                return open_

            limit = nodes if len(queue) * self.store.size < _MOST_STORED else 0
            over_limit = self.spent[batch.owner] >= limit
            self.close(batch.owner[over_limit], batch.bound[over_limit])

            batch = settle(self, batch.only((~over_limit).nonzero().squeeze(1)))
            if len(batch.owner):
                queue.put(self._children(batch))
        return subproblems.owner[:0]

    def _children(self, batch: Subproblems) -> Subproblems:
        """The children of each subproblem that are still open once they are bounded."""
        asked, state = self.state(batch)
        parent, state = split(state, choose(asked, state))
        owner = batch.owner[parent]

        found, left, state = optimise(asked.only(parent), state, self.leaf, self.store.errors(owner))
        bound = torch.maximum(found[:, 0], batch.bound[parent])
        self.work += len(owner) * (self.leaf.steps + 1)
        self.spent += torch.bincount(owner, minlength=len(self.spent))

        closed = torch.ones(len(owner), dtype=torch.bool).index_fill(0, left, False)
        self.close(owner[closed], bound[closed])
        return self.store.put(owner[left], bound[left], state)

    def close(self, owner: Tensor, bound: Tensor) -> None:
        """Close subproblems with these bounds."""
        self.least = self.least.scatter_reduce(0, owner, bound.clamp(max=self.most), "amin")

    def give_up(self, owner: Tensor, shown: bool) -> None:
        """Bound no further subproblem of these rows. shown: whether no bound can be tighter."""
        self.spent[owner] = _GIVEN_UP
        self.exhausted[owner] = shown

    def to_split(self, subproblems: Subproblems) -> Subproblems:
        """Those with a neuron left to split. The others are closed with the bounds they have."""
        fully_split = self.store.fully_split(subproblems)
        self.close(subproblems.owner[fully_split], subproblems.bound[fully_split])
        return subproblems.only((~fully_split).nonzero().squeeze(1))
