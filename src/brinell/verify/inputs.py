"""Branch and bound on the inputs: a box that one relaxation cannot prove is cut in two. For few inputs.

Where to cut is ours: along the axis through which most of the relaxation's error passes. Before it is cut, a box is
clipped to where its own linear bounds leave the property open, which is most of it once they are tight
(relaxed clipping, Zhou et al. 2025, arXiv:2512.11087).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from brinell.threat import Linf
from brinell.verify.operators import Affine, Bend, Constants, Interval, ReLU, Values
from brinell.verify.problem import Problem
from brinell.verify.queue import Queue
from brinell.verify.relaxation import Relaxation, relax
from brinell.verify.substitution import substitute, written
from brinell.verify.verifier import Checkpoint
from brinell.verify.watch import Watch
from brinell.verify.witness import Search, Witness

_ROUNDING = 1e-11
"""What a limit found by clipping is moved outward by, as a share of the numbers it comes from."""

_POLISHED = 16
"""Points of each batch that a descent starts from."""


@final
@dataclass(frozen=True, eq=False)
class Regions:
    """Boxes still to be proved. case: the case of the property each is of. bound: the best of its rows, so far.

    known: intervals of nodes inside the network that hold over the box.
    """

    low: Float64[Tensor, "regions inputs"]
    high: Float64[Tensor, "regions inputs"]
    case: Int64[Tensor, " regions"]
    bound: Float64[Tensor, " regions"]
    known: Mapping[int, Interval] = field(default_factory=dict)

    def only(self, chosen: Tensor) -> "Regions":
        """Some of them."""
        known = {i: (low[chosen], high[chosen]) for i, (low, high) in self.known.items()}
        return Regions(self.low[chosen], self.high[chosen], self.case[chosen], self.bound[chosen], known)

    def plus(self, other: "Regions") -> "Regions":
        """Both; what is known of one of them alone is forgotten."""
        both = self.known.keys() & other.known.keys()
        return Regions(
            torch.cat((self.low, other.low)),
            torch.cat((self.high, other.high)),
            torch.cat((self.case, other.case)),
            torch.cat((self.bound, other.bound)),
            {
                i: (torch.cat((self.known[i][0], other.known[i][0])), torch.cat((self.known[i][1], other.known[i][1])))
                for i in both
            },
        )


@final
@dataclass(frozen=True, kw_only=True)
class InputSplit:
    """Cuts boxes until each is proved, or a witness is met. batch: boxes bounded at once."""

    batch: int = 64
    memory: int = 2**22

    def __call__(
        self, search: Search, regions: Regions, checkpoint: Checkpoint, watch: Watch | None = None
    ) -> tuple[bool, Witness | None]:
        """(whether every region is proved, a witness). Neither where what is left is too thin to be cut."""
        queue: Queue[Regions] = Queue(self.batch)
        queue.put(regions)
        watch = watch or Watch()
        while (asked := queue.take()) is not None:
            watch.bound = min(queue.least, float(asked.bound.min()))
            checkpoint()
            found, left, axis = self._bounded(search, asked, checkpoint)
            if found is not None:
                return False, found
            if not _divisible(left.low, left.high).any(1).all():
                return False, None
            queue.put(halves(left, axis))
        return True, None

    def _bounded(
        self, search: Search, asked: Regions, checkpoint: Checkpoint
    ) -> tuple[Witness | None, Regions, Int64[Tensor, " left"]]:
        """(a witness, the regions that are left, clipped, the axis to cut each along)."""
        graph = search.graph
        identity = torch.eye(graph.classes, dtype=torch.float64)
        shape = (len(asked.case), *graph.nodes[0].shape)
        part = asked.low.reshape(shape), asked.high.reshape(shape)
        centre = (part[0] + part[1]) / 2
        problem = Problem(graph, centre, Linf(1.0), identity[search.rows[asked.case]], self.memory, checkpoint, part)
        relaxed = relax(problem, "adaptive", substituted=True, known=asked.known)
        held, constant = substitute(graph, graph.output, problem.spec, relaxed.pieces)
        slope = written(held[0]).flatten(2) if 0 in held else problem.spec.new_zeros(*problem.spec.shape[:2], 1)
        slope = slope.expand(-1, -1, asked.low.shape[1])
        bound = (problem.least(held[0]) + constant if 0 in held else constant).amax(1)
        # What is not a number, or crossed, neither proves nor clips.
        sane = _sane(relaxed.intervals) & bound.isfinite()
        bound, slope = bound.where(sane, -torch.inf), slope.where(sane.reshape(-1, 1, 1), 0.0)
        left = (~(bound > 0)).nonzero().squeeze(1)
        witness = _met(search, asked, slope)
        open_ = asked.only(left)
        known = {i: (relaxed.intervals[i][0][left], relaxed.intervals[i][1][left]) for i in graph.bent}
        open_ = replace(open_, bound=torch.maximum(open_.bound, bound[left]), known=known)
        clipped = clip(open_, slope[left], constant.expand(problem.spec.shape[:2])[left])
        kept = (clipped.low <= clipped.high).all(1).nonzero().squeeze(1)
        error = passed_on(problem, relaxed)[left[kept]]
        return witness, clipped.only(kept), _axis(clipped.only(kept), error)


def clip(regions: Regions, slope: Float64[Tensor, "regions rows inputs"], constant: Constants) -> Regions:
    """The part of each box where every row's linear bound is <= 0: the rest is proved. Empty where low > high."""
    low, high = regions.low, regions.high
    for row in range(slope.shape[1]):
        a, c = slope[:, row], constant[:, row].unsqueeze(1)
        least = torch.where(a > 0, a * low, a * high)
        others = least.sum(1, keepdim=True) - least
        slack = _ROUNDING * (least.abs().sum(1, keepdim=True) + c.abs())
        limit = (slack - others - c) / a  # from a_i x_i + others + c <= 0
        known = limit.isfinite()
        low = torch.where(known & (a < 0), torch.maximum(low, limit), low)
        high = torch.where(known & (a > 0), torch.minimum(high, limit), high)
    return replace(regions, low=low, high=high)


def passed_on(problem: Problem, relaxed: Relaxation) -> Float64[Tensor, "regions inputs"]:
    """For each axis of the input, how much of the bound's error there is that a thinner box would take away.

    The gap of a bend between its lines costs the bound the gap times its coefficient; it shrinks with the width of
    what goes into the bend, of which each axis has a share. The share is that of the linear model whose bends have
    the slope of their chord.
    """
    graph, by_axis = problem.graph, shares(problem, relaxed)
    error = torch.zeros_like(problem.x0).flatten(1)
    for i in graph.bends:
        above = {j: piece for j, piece in relaxed.pieces.items() if j > i}
        held, _ = substitute(graph, graph.output, problem.spec, above)
        if i in held and isinstance(graph.bend(i), ReLU):
            source = graph.nodes[i].inputs[0]
            low, high = (end.flatten(1) for end in relaxed.intervals[source])
            relative = torch.where((low < 0) & (high > 0), -low * high / (high - low).square(), 0.0)
            weight = written(held[i]).abs().flatten(2).sum(1) * relative
            error += (by_axis[source].abs() @ weight.unsqueeze(2)).squeeze(2)
    return error


def halves(regions: Regions, axis: Int64[Tensor, " regions"]) -> Regions:
    """Both sides of each."""
    axis = axis.unsqueeze(1)
    middle = ((regions.low + regions.high) / 2).gather(1, axis)
    below = replace(regions, high=regions.high.scatter(1, axis, middle))
    above = replace(regions, low=regions.low.scatter(1, axis, middle))
    return below.plus(above)


def _axis(regions: Regions, error: Tensor) -> Int64[Tensor, " regions"]:
    """The axis of most error; the widest where none has any. Only one that can be cut."""
    width = regions.high - regions.low
    known = error.isfinite().all(1, keepdim=True) & (error > 0).any(1, keepdim=True)
    score = torch.where(known, error, width)
    return score.where(_divisible(regions.low, regions.high), -1.0).argmax(1)


def _divisible(low: Tensor, high: Tensor) -> Tensor:
    """Whether a number lies between, axis by axis."""
    middle = (low + high) / 2
    return (low < middle) & (middle < high)


def shares(problem: Problem, relaxed: Relaxation) -> dict[int, Float64[Tensor, "regions inputs values"]]:
    """For each node below a bend, how far each axis, over its whole width, moves it in the linear model."""
    graph = problem.graph
    low, high = problem.hull
    count, inputs = len(low), low[0].numel()
    moved: list[Values] = [torch.diag_embed((high - low).flatten(1)).reshape(count * inputs, *low.shape[1:])]
    for i in range(1, len(graph.nodes)):
        operator, sources = graph.operator(i), graph.nodes[i].inputs
        if isinstance(operator, Affine):
            still = operator.forward(*(torch.zeros_like(moved[j][:1]) for j in sources))
            moved.append(operator.forward(*(moved[j] for j in sources)) - still)
        else:
            moved.append(_turned(graph.bend(i), relaxed.intervals[sources[0]], moved[sources[0]], inputs))
    return {graph.nodes[i].inputs[0]: moved[graph.nodes[i].inputs[0]].reshape(count, inputs, -1) for i in graph.bends}


def _turned(bend: Bend, interval: Interval, moved: Values, inputs: int) -> Values:
    """By the chord of a ReLU; by another bend as if each axis moved alone."""
    low, high = interval
    if not isinstance(bend, ReLU):
        return bend.carried(low.repeat_interleave(inputs, 0), high.repeat_interleave(inputs, 0), moved.abs(), 0.0, 0.0)
    chord = ((high.clamp(min=0) - low.clamp(min=0)) / (high - low).clamp(min=1e-300)).where(high > low, 0.0)
    return moved * chord.repeat_interleave(inputs, 0)


def _sane(intervals: Sequence[Interval]) -> Tensor:
    return torch.stack([(low <= high).flatten(1).all(1) for low, high in intervals]).all(0)


def _met(search: Search, asked: Regions, slope: Tensor) -> Witness | None:
    """A witness among the corners where the linear bounds are least, the centres, and what a short descent finds."""
    low, high = asked.low.unsqueeze(1), asked.high.unsqueeze(1)
    corners = torch.where(slope > 0, low, high)
    points = torch.cat((corners, (low + high) / 2), 1).flatten(0, 1)
    case = asked.case.repeat_interleave(slope.shape[1] + 1)
    best = search.worst(points, case).argsort()[:_POLISHED]
    polished = search.descend(points[best], case[best], 5, 0.05)
    return search.look(polished, case[best])
