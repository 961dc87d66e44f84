"""Branch and bound: what one relaxation cannot show is split at a neuron into two cases, each easier.

Sources: Bunel et al. 2020, arXiv:1909.06588, algorithm 1; the cases are bounded by beta-CROWN (Wang et al. 2021,
arXiv:2103.06624). A network is searched in rounds. In each, the neurons inside are bounded, from the second on by
branching of their own, layer by layer, as long as that narrows them. Then come many cheap cases, which rest on what was
found inside. For a row that they leave open, the search begins anew with few dear ones: the neurons inside are bounded
again in each, over the inputs alone that leave the row open (Kotha et al. 2023, arXiv:2302.01404).
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
from brinell.proofs.query.progress import Progress
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.intermediate import Assumptions, refined
from brinell.proofs.relaxation.network import best, relax
from brinell.proofs.relaxation.optimised import Optimisation, State, optimise
from brinell.threat import PerturbationSet
from brinell.types import Inputs

_CHEAP = 10
"""Work done on cheap cases before dear ones in the last round, in bounds of all neurons inside."""

_FEW = 8
"""Cases of a neuron inside in the first round that branches them; four times as many in each that follows."""

_SHARE = 4
"""What part of the work inside is done on cheap cases, and what part on dear ones, before the next round."""

_BARELY = 1e-300
"""What is known of a row that is positive because no input of its region leaves it open."""


@final
@dataclass(frozen=True, kw_only=True)
class BranchAndBound(Verifier):
    """Splits ReLUs until every case of a row is positive, one is not, or the row has had its cases.

    A case without a neuron left to split is a linear programme, and settled exactly (`leaves`).

    nodes: cases bounded a row, at most, about. inner: the climb of each neuron inside, at the root; None leaves them as
    CROWN bounds them. neurons: cases that each end of a neuron inside is split into, at most, once it has climbed.
    root: the climb of the whole; leaf: that of a case, which starts where its parent's ended. within: the climb of each
    neuron inside, case by case, for rows that cheap cases leave open, which are then shown to be positive and no more;
    None leaves these rows open. A row that is given up keeps the least bound of its cases, no worse than the root's.
    Other nonlinearities than ReLUs are not split. memory: bytes, about, that it may take, beside those of the cases
    that wait. A row shown to be positive and no more, or by a linear programme, holds in exact arithmetic: nothing is
    left of it for rounding.
    """

    nodes: int = 500
    inner: Optimisation | None = None
    neurons: int = 0
    root: Optimisation = Optimisation(steps=30)
    leaf: Optimisation = Optimisation(steps=3, precision="float32")
    within: Optimisation | None = None
    memory: int = 2**24
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self.bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def bound(self, problem: Problem, progress: Progress | None = None) -> Margins:
        """The bounds of one chunk."""
        graph, progress = problem.graph, progress or Progress()
        relaxed = relax(problem, "adaptive", substituted=True)
        inside, bounds = relaxed.intervals, best(problem, relaxed)
        owner, left = torch.arange(len(bounds)).repeat_interleave(bounds.shape[1]), (~(bounds > 0)).flatten()
        asked, found = problem.only(owner).asking(problem.spec.flatten(0, 1).unsqueeze(1)), bounds.flatten()
        left, layers = left.nonzero().squeeze(1), set(graph.pre_activations - graph.affine_prefix)
        branching = Branching(layers if self.neurons and self.inner is not None else set())
        while len(left):
            done = branching.work
            if self.inner is not None:
                inside = _narrowed(problem, inside, owner[left].unique(), self.inner, branching)
            last = not branching.layers or branching.nodes >= self.neurons
            limits = [(low[owner[left]], high[owner[left]]) for low, high in inside]
            new, open_ = self._searched(asked.only(left), limits, None if last else branching.work - done, progress)
            found[left] = torch.maximum(found[left], new)
            left = left[:0] if last else left[open_]
            branching.nodes = max(_FEW, 4 * branching.nodes)
        return sound(inside, found.reshape(bounds.shape))

    def _searched(
        self, problem: Problem, limits: list[Interval], work: int | None, progress: Progress
    ) -> tuple[Float[Tensor, " rows"], Int64[Tensor, " open"]]:
        """(the bounds of the rows, those still open). work: what there was inside; None is the last search."""
        tree = SearchTree(problem, limits, self.root, self.leaf)
        roots = tree.roots()
        cheap = dear = torch.inf if work is None else work / _SHARE
        once = 0.0 if self.within is None else effort(problem.graph, limits, self.within) / len(problem.x0)
        if work is None and self.within is not None:
            cheap = _CHEAP * once
        rest = tree.search(roots, self.nodes, partial(_settled, progress), enough=cheap, progress=progress)
        if self.within is not None and dear > once:
            tree.most = _BARELY
            again = roots.only(torch.isin(roots.owner, rest).nonzero().squeeze(1))
            rest = tree.search(
                again, self.nodes, partial(self._confined, progress), size=1, enough=dear, progress=progress
            )
        open_ = torch.isin(roots.owner, rest)
        tree.least[roots.owner[open_]] = roots.bound[open_]
        return tree.least, (~(tree.least > 0) & ~tree.exhausted).nonzero().squeeze(1)

    def _confined(self, progress: Progress, tree: SearchTree, subproblem: Subproblems) -> Subproblems:
        """The same case, if it is still open with the neurons inside bounded over the inputs that leave it so."""
        if not len(subproblem.owner) or self.within is None:
            return subproblem
        (problem, state), graph = tree.state(subproblem), tree.problem.graph
        phase = {i: layer.splits.phase for i, layer in state.items() if layer.splits is not None}
        known = tree.store.intervals(subproblem.owner, state)
        tree.work += effort(graph, known, self.within)
        inside = refined(problem, known, self.within, Assumptions(phase, problem.spec[0, 0], float(subproblem.bound)))
        ends = {i: inside[graph.nodes[i].inputs[0]] for i in state}
        state = {i: replace(layer, low=ends[i][0], high=ends[i][1]) for i, layer in state.items()}
        found, left, state = optimise(problem, state, self.root, tree.store.errors(subproblem.owner))
        bound = torch.maximum(found[:, 0], subproblem.bound)
        if not len(left):
            tree.close(subproblem.owner, bound)
        return _settled(progress, tree, tree.store.put(subproblem.owner[left], bound[left], state))


def _narrowed(
    problem: Problem, inside: list[Interval], examples: Tensor, optimisation: Optimisation, branching: Branching
) -> list[Interval]:
    """The intervals with those of some examples refined."""
    known = [(low[examples], high[examples]) for low, high in inside]
    finer = branching.refined(problem.only(examples), known, optimisation)
    return [
        (low.index_copy(0, examples, new_low), high.index_copy(0, examples, new_high))
        for (low, high), (new_low, new_high) in zip(inside, finer, strict=True)
    ]


def _settled(progress: Progress, tree: SearchTree, subproblems: Subproblems) -> Subproblems:
    """The cases that have a neuron left to split; the others are linear programmes, and settled."""
    whole = tree.store.whole(subproblems)
    for subproblem in whole.nonzero():
        one = subproblems.only(subproblem)
        lowest = _lowest(*tree.state(one))
        bound = one.bound.clamp(min=min(lowest.bound, _BARELY))  # how HiGHS's prices round is not accounted for
        tree.close(one.owner, bound)
        if not bound > 0:
            tree.give_up(one.owner, shown=lowest.x is not None and tree.problem.is_box)
            if lowest.x is not None:
                progress.query(lowest.x.unsqueeze(0))
    return subproblems.only((~whole).nonzero().squeeze(1))


def _lowest(problem: Problem, state: State) -> Least:
    """The exact minimum of one case whose neurons are all on a known side, over the hull of its inputs."""
    limits = {i: (layer.low, layer.high) for i, layer in state.items()}
    phase = {i: layer.splits.phase for i, layer in state.items() if layer.splits is not None}
    try:
        encoding = encode(problem.graph, problem.hull, limits, phase)
    except Unsupported:  # another nonlinearity, or too large: the case keeps the bound it has
        return Least(-torch.inf, None)
    return least(encoding, problem.spec[0, 0])
