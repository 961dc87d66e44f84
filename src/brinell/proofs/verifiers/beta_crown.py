"""Branch and bound with beta-CROWN: the phases of unstable ReLUs are split until every subproblem is proved.

Sources: Bunel et al. 2020, arXiv:1909.06588, algorithm 1; subproblems are bounded by beta-CROWN (Wang et al. 2021,
arXiv:2103.06624).

The search runs in rounds:

1. The intermediate (pre-activation) bounds are tightened; from the second round on by branch and bound of their own,
   layer by layer, for as long as that narrows them.
2. Each open row is searched with many inexpensive subproblems, which share the intermediate bounds of the root.
3. A row that is still open is searched anew with few expensive subproblems: each has its intermediate bounds tightened
   over the inputs alone that leave the row open, by its output constraint (INVPROP, Kotha et al. 2023,
   arXiv:2302.01404).
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brinell.evidence import Soundness
from brinell.proofs.branching.encoding import encode
from brinell.proofs.branching.intermediate import Branching, effort
from brinell.proofs.branching.leaves import Least, least
from brinell.proofs.branching.subproblems import Subproblems
from brinell.proofs.branching.tree import SearchTree
from brinell.proofs.network.graph import Graph, Unsupported
from brinell.proofs.network.operators import Interval
from brinell.proofs.query.problem import Problem, solve, sound
from brinell.proofs.query.progress import SearchProgress
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.intermediate import Assumptions, refined
from brinell.proofs.relaxation.network import best, relax
from brinell.proofs.relaxation.optimised import Optimisation, State, optimise
from brinell.threat import PerturbationSet
from brinell.types import Inputs

_INEXPENSIVE = 10
"""In the last round: work on inexpensive subproblems before expensive ones, in units of one expensive subproblem."""

_FIRST_NODES = 8
"""Subproblems of each pre-activation bound in the first round that branches them; four times as many each round."""

_SHARE = 4
"""One part in so many of a round's work on intermediate bounds is spent on each kind of subproblem before the next."""

_BARELY = 1e-300
"""The bound reported for a row that is positive because no input of its subproblem can leave it open."""


@final
@dataclass(frozen=True, kw_only=True)
class BranchAndBound(Verifier):
    """Splits ReLUs until all subproblems of a row are positive, one is shown not to be, or its nodes are spent.

    A subproblem without an unstable neuron left is a linear programme, solved exactly (`branching.leaves`). A row that
    is given up keeps the lowest bound of its subproblems, no worse than the root's. Nonlinearities other than ReLUs are
    not split. A row proved by output constraints or by a linear programme holds in exact arithmetic alone: its bound
    leaves no room for rounding.

    nodes: subproblems bounded for each row, at most, about. intermediate: how the slopes of each intermediate layer are
    optimised at the root; None leaves CROWN's bounds. neuron_nodes: subproblems for each lower or upper bound of a
    pre-activation, at most, once its slopes are optimised. root: how the bound of a row is optimised. leaf: the same of
    a subproblem, which starts from its parent's slopes and multipliers. leaf_intermediate: how intermediate layers are
    optimised in each expensive subproblem; None does without those. memory: bytes, about, besides those of subproblems
    that wait.
    """

    nodes: int = 500
    intermediate: Optimisation | None = None
    neuron_nodes: int = 0
    root: Optimisation = Optimisation(steps=30)
    leaf: Optimisation = Optimisation(steps=3, precision="float32")
    leaf_intermediate: Optimisation | None = None
    memory: int = 2**24
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self.bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def bound(self, problem: Problem, progress: SearchProgress | None = None) -> Margins:
        """The bounds of one chunk."""
        graph = problem.graph
        progress = progress or SearchProgress()
        relaxed = relax(problem, "adaptive", substituted=True)
        intervals = relaxed.intervals
        bounds = best(problem, relaxed)  # [batch, rows]

        # From here on a problem has one row an example: [batch * rows].
        owner = torch.arange(len(bounds)).repeat_interleave(bounds.shape[1])
        rows = problem.only(owner).asking(problem.spec.flatten(0, 1).unsqueeze(1))
        found = bounds.flatten()
        left = (~(bounds > 0)).flatten().nonzero().squeeze(1)

        can_branch = self.neuron_nodes and self.intermediate is not None
        branching = Branching(set(graph.pre_activations - graph.affine_prefix) if can_branch else set())
        while len(left):
            done = branching.work
            if self.intermediate is not None:
                intervals = _tightened(problem, intervals, owner[left].unique(), self.intermediate, branching)
            is_last = not branching.layers or branching.nodes >= self.neuron_nodes

            known = [(low[owner[left]], high[owner[left]]) for low, high in intervals]
            work = None if is_last else branching.work - done
            new, open_ = self._searched(rows.only(left), known, work, progress)
            found[left] = torch.maximum(found[left], new)
            left = left[:0] if is_last else left[open_]
            branching.nodes = max(_FIRST_NODES, 4 * branching.nodes)
        return sound(intervals, found.reshape(bounds.shape))

    def _searched(
        self, problem: Problem, intervals: list[Interval], work: int | None, progress: SearchProgress
    ) -> tuple[Float[Tensor, " rows"], Int64[Tensor, " open"]]:
        """(the bounds of the rows, those still open).

        work: spent on intermediate bounds in this round, in functionals times steps; None in the last round.
        """
        tree = SearchTree(problem, intervals, self.root, self.leaf)
        roots = tree.roots()

        inexpensive = expensive = torch.inf if work is None else work / _SHARE
        once = 0.0  # the work of one expensive subproblem
        if self.leaf_intermediate is not None:
            once = effort(problem.graph, intervals, self.leaf_intermediate) / len(problem.x0)
            if work is None:
                inexpensive = _INEXPENSIVE * once

        rest = tree.search(roots, self.nodes, partial(_solve_leaves, progress), enough=inexpensive, progress=progress)
        if self.leaf_intermediate is not None and expensive > once:
            tree.most = _BARELY
            again = roots.only(torch.isin(roots.owner, rest).nonzero().squeeze(1))
            to_split = partial(self._constrained, progress)
            rest = tree.search(again, self.nodes, to_split, size=1, enough=expensive, progress=progress)

        open_ = torch.isin(roots.owner, rest)
        tree.least[roots.owner[open_]] = roots.bound[open_]
        return tree.least, (~(tree.least > 0) & ~tree.exhausted).nonzero().squeeze(1)

    def _constrained(self, progress: SearchProgress, tree: SearchTree, subproblem: Subproblems) -> Subproblems:
        """One subproblem, if it is still open with intermediate bounds under its output constraint."""
        if not len(subproblem.owner) or self.leaf_intermediate is None:
            return subproblem
        graph = tree.problem.graph
        problem, state = tree.state(subproblem)

        phases = {i: layer.splits.phase for i, layer in state.items() if layer.splits is not None}
        known = tree.store.intervals(subproblem.owner, state)
        tree.work += effort(graph, known, self.leaf_intermediate)
        assumed = Assumptions(phases, problem.spec[0, 0], float(subproblem.bound))
        intervals = refined(problem, known, self.leaf_intermediate, assumed)

        pre_activations = {i: intervals[graph.nodes[i].inputs[0]] for i in state}
        state = {i: replace(layer, low=pre_activations[i][0], high=pre_activations[i][1]) for i, layer in state.items()}
        found, left, state = optimise(problem, state, self.root, tree.store.errors(subproblem.owner))
        bound = torch.maximum(found[:, 0], subproblem.bound)
        if not len(left):
            tree.close(subproblem.owner, bound)
        return _solve_leaves(progress, tree, tree.store.put(subproblem.owner[left], bound[left], state))


def _tightened(
    problem: Problem, intervals: list[Interval], examples: Tensor, optimisation: Optimisation, branching: Branching
) -> list[Interval]:
    """The intervals, tightened for some examples."""
    known = [(low[examples], high[examples]) for low, high in intervals]
    finer = branching.refined(problem.only(examples), known, optimisation)
    return [
        (low.index_copy(0, examples, new_low), high.index_copy(0, examples, new_high))
        for (low, high), (new_low, new_high) in zip(intervals, finer, strict=True)
    ]


def _solve_leaves(progress: SearchProgress, tree: SearchTree, subproblems: Subproblems) -> Subproblems:
    """The subproblems with a neuron left to split; the others are leaves, whose linear programmes are solved here."""
    fully_split = tree.store.fully_split(subproblems)
    for place in fully_split.nonzero():
        leaf = subproblems.only(place)
        minimum = _minimum(*tree.state(leaf))
        # The rounding of HiGHS's multipliers in the network is not accounted for: such a bound is barely positive.
        bound = leaf.bound.clamp(min=min(minimum.bound, _BARELY))
        tree.close(leaf.owner, bound)
        if not bound > 0:
            tree.give_up(leaf.owner, shown=minimum.x is not None and tree.problem.is_box)
            if minimum.x is not None:
                progress.query(minimum.x.unsqueeze(0))
    return subproblems.only((~fully_split).nonzero().squeeze(1))


def _minimum(problem: Problem, state: State) -> Least:
    """The exact minimum of one subproblem whose neurons are all stable or split, over the hull of its inputs."""
    pre_activations = {i: (layer.low, layer.high) for i, layer in state.items()}
    phases = {i: layer.splits.phase for i, layer in state.items() if layer.splits is not None}
    try:
        encoding = encode(problem.graph, problem.hull, pre_activations, phases)
    except Unsupported:  # another nonlinearity, or too large: the subproblem keeps the bound it has
        return Least(-torch.inf, None)
    return least(encoding, problem.spec[0, 0])
