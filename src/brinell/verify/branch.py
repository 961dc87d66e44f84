"""Branch and bound: what one relaxation cannot show is split at a neuron into two cases, each easier.

Sources: Bunel et al. 2020, arXiv:1909.06588, algorithm 1; the cases are bounded by beta-CROWN (Wang et al. 2021,
arXiv:2103.06624). Many cheap cases come first, with the limits of the neurons inside found once, at the root. For a row
that they leave open, the search begins anew with few dear ones: the neurons inside are bounded again in each, over the
inputs alone that leave the row open (Kotha et al. 2023, arXiv:2302.01404).
"""

from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brinell.evidence import Soundness
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
from brinell.verify.refine import Given, effort, refined
from brinell.verify.relaxation import best, relax
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.verify.watch import Watch

_SHELF = 2**31
"""Bytes of cases that may wait at one time; beyond, rows are given up."""

_CHEAP = 10
"""Work done on cheap cases before dear ones, in bounds of all neurons inside."""

_BARELY = 1e-300
"""What is known of a row that is positive because no input of its region leaves it open."""


@final
@dataclass(frozen=True, kw_only=True)
class BranchAndBound(Verifier):
    """Splits ReLUs until every case of a row is positive, one is not, or the row has had its cases.

    A case without a neuron left to split is a linear programme, and settled exactly (`leaves`).

    nodes: cases bounded a row, at most, about. inner: the climb of each neuron inside, once, at the root; None leaves
    them as CROWN bounds them. root: the climb of the whole; leaf: that of a case, which starts where its parent's
    ended. within: the climb of each neuron inside, case by case, for rows that cheap cases leave open, which are then
    shown to be positive and no more; None leaves these rows open. A row that is given up keeps the least bound of its
    cases, no worse than the root's. Other bends than ReLUs are not split. memory: bytes, about, that it may take,
    beside those of the cases that wait. A row shown to be positive and no more, or by a linear programme, holds in
    exact arithmetic: nothing is left of it for rounding.
    """

    nodes: int = 200
    inner: Climb | None = None
    root: Climb = Climb(steps=30)
    leaf: Climb = Climb(steps=10, precision="float32")
    within: Climb | None = None
    memory: int = 2**24
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __call__(
        self, graph: Graph, x0: Inputs, set: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self.bound, graph, x0, set, spec, self.memory, checkpoint)

    def bound(self, problem: Problem, watch: Watch | None = None) -> Margins:
        """The bounds of one chunk."""
        watch = watch or Watch()
        graph = problem.graph
        relaxed = relax(problem, "adaptive", substituted=True)
        inside, bounds = relaxed.intervals, best(problem, relaxed)
        if (bounds > 0).all():
            return sound(inside, bounds)
        if self.inner is not None:
            inside = refined(problem, inside, self.inner)
        examples, rows = problem.spec.shape[:2]
        owner = torch.arange(examples).repeat_interleave(rows)
        problem = problem.only(owner).asking(problem.spec.reshape(examples * rows, 1, -1))
        intervals = [(low[owner], high[owner]) for low, high in inside]
        shown = bounds.reshape(-1, 1)
        bounds, left, state = ascend(problem, first(graph, intervals, 1), self.root)
        bounds, state = torch.maximum(bounds, shown), holding(graph, state)
        if any(bent.hold is not None for bent in state.values()):
            shelf = Shelf(graph, intervals)
            roots = shelf.put(left, bounds[left, 0], state)
            roots = roots.only((bounds[left, 0].isfinite() & ~(shown[left, 0] > 0)).nonzero().squeeze(1))
            tally = _Tally(bounds[:, 0].index_fill(0, roots.owner, torch.inf), torch.zeros_like(bounds[:, 0]).long())
            if self.within is None:
                self._branch(problem, shelf, roots, tally, watch, None)
            else:
                enough = _CHEAP * (self.within.steps + 1) * effort(graph, inside)
                rest = self._branch(problem, shelf, roots, tally, watch, None, enough)
                roots = roots.only(torch.isin(roots.owner, rest).nonzero().squeeze(1))
                self._branch(problem, shelf, roots, tally, watch, self.within)
            bounds = tally.least
        return sound(inside, bounds.reshape(examples, rows))

    def _branch(
        self,
        problem: Problem,
        shelf: Shelf,
        roots: Cases,
        tally: "_Tally",
        watch: Watch,
        within: Climb | None,
        enough: float = torch.inf,
    ) -> Int64[Tensor, " open"]:
        """Deal with the cases until all rows are done with, or there was work enough, in functionals climbed a step.

        Returns the rows that are still open then.
        """
        queue: Queue[Cases] = Queue(1 if within else max(1, problem.rows(problem.graph.width) * len(tally.least) // 2))
        queue.put(roots)
        done = 0
        while (batch := queue.take()) is not None:
            watch.bound = min(queue.least, float(batch.bound.min()), float(tally.least.min()))
            problem.checkpoint()
            if done > enough:
                queue.put(batch)
                return queue.rest().owner
            lost = tally.spent[batch.owner] >= (self.nodes if len(queue) * shelf.size < _SHELF else 0)
            tally.close(batch.owner[lost], batch.bound[lost])
            batch = batch.only((~lost).nonzero().squeeze(1))
            if within is not None and len(batch.owner):
                batch = self._refined(problem, shelf, batch, tally, within)
            batch = self._settled(problem, shelf, batch, tally, watch)
            if not len(batch.owner):
                continue
            asked, state = problem.only(batch.owner), shelf.take(batch)
            parent, state = split(state, choose(asked, state))
            owner = batch.owner[parent]
            found, left, state = ascend(asked.only(parent), state, self.leaf, shelf.errors(batch.owner[parent]))
            bound = torch.maximum(found[:, 0], batch.bound[parent])
            done += len(owner) * (self.leaf.steps + 1)
            tally.spent += torch.bincount(owner, minlength=len(tally.spent))
            closed = torch.ones(len(owner), dtype=torch.bool).index_fill(0, left, False)
            tally.close(owner[closed], bound[closed].clamp(max=torch.inf if within is None else _BARELY))
            queue.put(shelf.put(owner[left], bound[left], state))
        return roots.owner[:0]

    def _refined(self, problem: Problem, shelf: Shelf, case: Cases, tally: "_Tally", within: Climb) -> Cases:
        """The same case, if it is still open with the neurons inside bounded over the inputs that leave it so."""
        graph, asked, state = problem.graph, problem.only(case.owner), shelf.take(case)
        side = {i: bent.hold.side for i, bent in state.items() if bent.hold is not None}
        given = Given(side, asked.spec[0, 0], float(case.bound))
        inside = refined(asked, shelf.intervals(case.owner, state), within, given)
        ends = {i: inside[graph.nodes[i].inputs[0]] for i in state}
        state = {i: replace(bent, low=ends[i][0], high=ends[i][1]) for i, bent in state.items()}
        found, left, state = ascend(asked, state, self.root, shelf.errors(case.owner))
        bound = torch.maximum(found[:, 0], case.bound)
        if not len(left):
            tally.close(case.owner, bound.clamp(max=_BARELY))
        return shelf.put(case.owner[left], bound[left], state)

    def _settled(self, problem: Problem, shelf: Shelf, batch: Cases, tally: "_Tally", watch: Watch) -> Cases:
        """The cases that have a neuron left to split; the others are linear programmes, and settled."""
        whole = shelf.whole(batch)
        for case in whole.nonzero():
            one = batch.only(case)
            lowest = _lowest(problem.only(one.owner), shelf.take(one))
            bound = one.bound.clamp(min=lowest.bound)
            tally.close(one.owner, bound.clamp(max=_BARELY))
            if not bound > 0:
                tally.spent[one.owner] = self.nodes  # the other cases cannot mend it
                if lowest.x is not None:
                    watch.look(lowest.x.unsqueeze(0))
        return batch.only((~whole).nonzero().squeeze(1))


@final
@dataclass(eq=False)
class _Tally:
    """What has come of each row. least: the least bound of its cases that are done with. spent: cases bounded."""

    least: Float[Tensor, " rows"]
    spent: Int64[Tensor, " rows"]

    def close(self, owner: Tensor, bound: Tensor) -> None:
        """Be done with cases of these bounds."""
        self.least = self.least.scatter_reduce(0, owner, bound, "amin")


def _lowest(problem: Problem, state: State) -> Least:
    """The exact minimum of one case whose neurons are all on a known side, over the hull of its inputs."""
    limits = {i: (bent.low, bent.high) for i, bent in state.items()}
    side = {i: bent.hold.side for i, bent in state.items() if bent.hold is not None}
    try:
        encoding = encode(problem.graph, problem.hull, limits, side)
    except Unsupported:  # another bend, or too large: the case keeps the bound it has
        return Least(-torch.inf, None)
    return least(encoding, problem.spec[0, 0])
