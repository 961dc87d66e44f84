"""The cases of some rows, the worst bounded and split first, until each row is positive or has had its share.

Source: Bunel et al. 2020, arXiv:1909.06588, algorithm 1; bounded by beta-CROWN (Wang et al. 2021, arXiv:2103.06624).
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
from brinell.proofs.query.progress import Progress
from brinell.proofs.relaxation.optimised import Optimisation, State, first, optimise, with_splits
from brinell.types import Mask

_SHELF = 2**31
"""Bytes of cases that may wait at one time; beyond, rows are given up."""

_NEVER = 2**62
"""More cases than a row has."""


@final
@dataclass(eq=False)
class SearchTree:
    """problem: of one row an example. intervals: of all nodes, for each. root, leaf: the climbs of a row and of a case,
    which starts where its parent's ended. most: what is known of a row at most, however large its bounds are.

    least: the least bound of each row's cases that are done with. spent: its cases bounded. hopeless: rows that are
    shown to be no better. work: functionals climbed a step.
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
        """The rows themselves, but for those that are positive or cannot be split: these are done with."""
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
        """What is asked of the cases, and how they stand."""
        return self.problem.only(subproblems.owner), self.store.take(subproblems)

    def search(
        self,
        subproblems: Subproblems,
        nodes: int,
        settle: Callable[["SearchTree", Subproblems], Subproblems],
        *,
        size: int | None = None,
        enough: float = torch.inf,
        progress: Progress | None = None,
    ) -> Int64[Tensor, " open"]:
        """Deal with the cases until all rows are done with, or there was work enough; the rows still open then.

        nodes: cases bounded a row, at most, about. settle: what is done with cases before they are split; those it
        returns are. size: of a batch.
        """
        progress = progress or Progress()
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
            lost = self.spent[batch.owner] >= (nodes if len(queue) * self.store.size < _SHELF else 0)
            self.close(batch.owner[lost], batch.bound[lost])
            batch = settle(self, batch.only((~lost).nonzero().squeeze(1)))
            if len(batch.owner):
                queue.put(self._halves(batch))
        return subproblems.owner[:0]

    def _halves(self, batch: Subproblems) -> Subproblems:
        """What is open of both halves of each case."""
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
        """Be done with cases of these bounds."""
        self.least = self.least.scatter_reduce(0, owner, bound.clamp(max=self.most), "amin")

    def give_up(self, owner: Tensor, shown: bool) -> None:
        """Deal with no other case of these rows. shown: whether no limits of neurons could mend theirs."""
        self.spent[owner] = _NEVER
        self.exhausted[owner] = shown

    def undivided(self, subproblems: Subproblems) -> Subproblems:
        """Those with a neuron left to split. The others are done with as they are."""
        whole = self.store.whole(subproblems)
        self.close(subproblems.owner[whole], subproblems.bound[whole])
        return subproblems.only((~whole).nonzero().squeeze(1))
