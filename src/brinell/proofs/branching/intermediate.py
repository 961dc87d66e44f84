"""Pre-activation bounds narrowed by branch and bound, after their slopes have been optimised."""

from dataclasses import dataclass
from typing import final

from torch.nn import functional

from brinell.proofs.branching.tree import SearchTree
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Interval, Values
from brinell.proofs.query.problem import Problem
from brinell.proofs.relaxation.intermediate import refined, up_to
from brinell.proofs.relaxation.network import intersected
from brinell.proofs.relaxation.optimised import Optimisation

_LEAF = Optimisation(steps=3, precision="float32")
"""How a subproblem of a pre-activation is bounded: more subproblems tighten its bound more than more steps do."""

_GAIN = 0.03
"""The share by which branching has to narrow the first neurons of a layer for the layer's others to be branched."""


@final
@dataclass
class Branching:
    """Branch and bound on pre-activations.

    layers: the nodes whose bounds are branched; a layer that gains too little is removed. nodes: subproblems that each
    bound, lower or upper, may take. work: functionals times optimisation steps, so far.
    """

    layers: set[int]
    nodes: int = 0
    work: int = 0

    def refined(self, problem: Problem, known: list[Interval], optimisation: Optimisation) -> list[Interval]:
        """Intervals of all nodes, none wider than the known ones: slopes optimised, then branched, layer by layer."""
        self.work += effort(problem.graph, known, optimisation)
        return refined(problem, known, optimisation, further=self._narrowed)

    def _narrowed(
        self, problem: Problem, node: int, intervals: list[Interval], optimisation: Optimisation, error: Values
    ) -> Interval:
        """The interval of a node, its unstable neurons bounded by branch and bound while that narrows them."""
        if not self.nodes or node not in self.layers:
            return intervals[node]
        low, high = (end.flatten(1).clone() for end in intervals[node])
        asked, _ = up_to(problem, node, None)
        intervals = [*intervals[: node + 1], intervals[node]]
        unknown = problem.graph.unknown(node, intervals[node]).flatten(1).nonzero()
        if not len(unknown):
            self.layers.discard(node)
        for some in unknown.split(max(1, problem.rows(problem.graph.width) * len(low) // 4)):
            # Each neuron is asked for its minimum, then each for minus its maximum.
            place = tuple(some.T)
            owner, neuron = some.repeat(2, 1).T
            unit = functional.one_hot(neuron, asked.graph.classes).to(low.dtype)
            unit[len(some) :] *= -1

            known = [(a[owner], b[owner]) for a, b in intervals]
            tree = SearchTree(asked.only(owner).asking(unit.unsqueeze(1)), known, optimisation, _LEAF)
            tree.search(tree.roots(), self.nodes, SearchTree.to_split)
            self.work += tree.work

            lower, higher = (tree.least - error.flatten(1)[owner, neuron]).chunk(2)
            before = (high[place] - low[place]).sum()
            low[place], high[place] = intersected((low[place], high[place]), (lower, -higher))
            if (high[place] - low[place]).sum() > (1 - _GAIN) * before:
                self.layers.discard(node)
                break
        return low.reshape(intervals[node][0].shape), high.reshape(intervals[node][1].shape)


def effort(graph: Graph, intervals: list[Interval], optimisation: Optimisation) -> int:
    """Functionals times optimisation steps that refining the intermediate layers of all examples takes, about."""
    return 2 * (optimisation.steps + 1) * sum(int(graph.unknown(i, intervals[i]).sum()) for i in graph.pre_activations)
