"""The neurons inside, each bounded with slopes of its own: what bends above rests on limits closer to the truth.

Source: Xu et al. 2021 (alpha-CROWN), arXiv:2011.13824, section 3.2. There all slopes climb together toward the last
bounds; here each layer is bounded once, as well as its own slopes can, before the next.
"""

from dataclasses import replace

import torch

from brinell.verify.freedom import Climb, ascend, first
from brinell.verify.graph import Graph
from brinell.verify.operators import Interval, Neurons
from brinell.verify.problem import Problem
from brinell.verify.relaxation import Relaxation, met, units
from brinell.verify.substitution import written

_SHARE = 4
"""What a gradient keeps of each bound, in the copies that a bound without one takes."""


def refined(problem: Problem, relaxed: Relaxation, climb: Climb) -> list[Interval]:
    """Intervals of all nodes, none wider than those of the relaxation."""
    graph = problem.graph
    exact = graph.single if problem.is_box else frozenset({0})
    intervals = relaxed.intervals[:1]
    for i, node in enumerate(graph.nodes[1:], 1):
        interval = met(graph.operator(i).interval(*(intervals[j] for j in node.inputs)), relaxed.intervals[i])
        if i in graph.bent - exact:
            wanted = graph.unknown(i, interval)
            interval = _climbed(problem, i, interval, wanted, intervals, climb)
        intervals.append(interval)
    return intervals


def _climbed(
    problem: Problem, node: int, interval: Interval, wanted: Neurons, intervals: list[Interval], climb: Climb
) -> Interval:
    """The interval met with what its wanted neurons, and their negatives, are bounded by from below."""
    below = Graph(problem.graph.nodes[: node + 1])
    shape = below.nodes[node].shape
    low, high = (end.flatten(1) for end in interval)
    most = max(1, problem.rows(problem.graph.width) // (2 * _SHARE))
    for neurons, unit in units(wanted.flatten(1), most, problem.x0.dtype):
        unit = written(unit)
        spec = torch.cat((unit, -unit), 1).unflatten(2, shape)
        asked = replace(problem, graph=below, spec=spec)
        bounds, _, _ = ascend(asked, first(below, intervals, spec.shape[1]), climb)
        lower, higher = bounds.chunk(2, 1)
        old = low.gather(1, neurons), high.gather(1, neurons)
        new = met(old, (lower.where(lower.isfinite(), -torch.inf), -higher.where(higher.isfinite(), -torch.inf)))
        low, high = low.scatter(1, neurons, new[0]), high.scatter(1, neurons, new[1])
    return low.reshape(interval[0].shape), high.reshape(interval[1].shape)
