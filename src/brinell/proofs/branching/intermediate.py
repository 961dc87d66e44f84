"""The neurons inside, branched: their bounds narrow further once their slopes have climbed."""

from dataclasses import dataclass
from typing import final

from torch.nn import functional

from brinell.proofs.branching.tree import SearchTree
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Interval, Values
from brinell.proofs.query.problem import Problem
from brinell.proofs.relaxation.intermediate import refined, up_to
from brinell.proofs.relaxation.network import met
from brinell.proofs.relaxation.optimised import Optimisation

_LEAF = Optimisation(steps=3, precision="float32")
"""The climb of a case of a neuron inside: more cases show more than more steps."""

_GAIN = 0.03
"""By what share branching has to narrow the first neurons of a layer for the others to have their turn."""


@final
@dataclass
class Branching:
    """How the neurons inside are branched, once they have climbed.

    layers: the nodes whose neurons are; one whose neurons gain too little is taken out. nodes: cases that each end of a
    neuron may be split into. work: functionals climbed a step, so far, on all there is inside.
    """

    layers: set[int]
    nodes: int = 0
    work: int = 0

    def refined(self, problem: Problem, known: list[Interval], optimisation: Optimisation) -> list[Interval]:
        """Intervals of all nodes, none wider than those that are known: optimised, then branched."""
        self.work += effort(problem.graph, known, optimisation)
        return refined(problem, known, optimisation, further=self._narrowed)

    def _narrowed(
        self, problem: Problem, node: int, intervals: list[Interval], optimisation: Optimisation, error: Values
    ) -> Interval:
        """The interval of a node met with what branching shows of its unknown neurons, as long as it narrows them."""
        if not self.nodes or node not in self.layers:
            return intervals[node]
        low, high = (end.flatten(1).clone() for end in intervals[node])
        asked, _ = up_to(problem, node, None)
        intervals = [*intervals[: node + 1], intervals[node]]
        unknown = problem.graph.unknown(node, intervals[node]).flatten(1).nonzero()
        if not len(unknown):
            self.layers.discard(node)
        for part in unknown.split(max(1, problem.rows(problem.graph.width) * len(low) // 4)):
            place, (owner, neuron) = tuple(part.T), part.repeat(2, 1).T
            unit = functional.one_hot(neuron, asked.graph.classes).to(low.dtype)
            unit[len(part) :] *= -1
            limits = [(a[owner], b[owner]) for a, b in intervals]
            tree = SearchTree(asked.only(owner).asking(unit.unsqueeze(1)), limits, optimisation, _LEAF)
            tree.search(tree.roots(), self.nodes, SearchTree.undivided)
            self.work += tree.work
            lower, higher = (tree.least - error.flatten(1)[owner, neuron]).chunk(2)
            before = (high[place] - low[place]).sum()
            low[place], high[place] = met((low[place], high[place]), (lower, -higher))
            if (high[place] - low[place]).sum() > (1 - _GAIN) * before:
                self.layers.discard(node)
                break
        return low.reshape(intervals[node][0].shape), high.reshape(intervals[node][1].shape)


def effort(graph: Graph, intervals: list[Interval], optimisation: Optimisation) -> int:
    """How many functionals climb a step when all examples are refined, about."""
    return 2 * (optimisation.steps + 1) * sum(int(graph.unknown(i, intervals[i]).sum()) for i in graph.pre_activations)
