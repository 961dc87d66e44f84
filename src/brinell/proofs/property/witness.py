"""The search for a witness: candidates come from the graph, and the model as it runs decides."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from brinell.proofs.network.graph import Graph
from brinell.proofs.numerics.simplex import AffineFunctions, excess
from brinell.proofs.property.property import Property

Run = Callable[[Float64[Tensor, "rows inputs"]], Float64[Tensor, "rows outputs"]]
"""The model as it is deployed, on rows of inputs that its own precision can hold; all in flat order."""

_AT_ONCE = 256
"""Points that the model is run on at once."""

_SHOWN = 4
"""Points that the model is run on, of those that violate the property on the graph: the worst ones."""


@final
@dataclass(frozen=True, eq=False)
class Counterexample:
    """An unsafe input, in the box of a case, and the model's outputs there, which satisfy all rows of the case."""

    x: Float64[Tensor, " inputs"]
    y: Float64[Tensor, " outputs"]


@final
class Search:
    """margins, places: of `Property.margins`. run: the model as deployed. precision: of its inputs."""

    def __init__(
        self,
        goal: Property,
        margins: Graph,
        places: tuple[Int64[Tensor, " rows"], ...],
        run: Run,
        precision: torch.dtype,
    ) -> None:
        self.property = goal
        self._run = run
        self._set_margins(margins, places)
        limits = [case.inputs(precision) for case in goal.cases]
        self.low, self.high, there = (torch.stack(ends) for ends in zip(*limits, strict=True))
        self.possible = there.all(1)
        self.precision = precision

    def proving(self, margins: Graph, places: tuple[Int64[Tensor, " rows"], ...]) -> "Search":
        """The same search with the margins of a stricter property."""
        other = copy.copy(self)
        other._set_margins(margins, places)
        return other

    def _set_margins(self, margins: Graph, places: tuple[Int64[Tensor, " rows"], ...]) -> None:
        self.graph = margins
        most = max(map(len, places))
        # Cases with fewer rows repeat their first one.
        self.rows = torch.stack([torch.cat((p, p[:1].expand(most - len(p)))) for p in places])

    def worst(self, x: Float64[Tensor, "points inputs"], case: Int64[Tensor, " points"]) -> Float64[Tensor, " points"]:
        """The largest of a case's margins at each point: <= 0 where the point violates the property."""
        margins = self.graph(x.reshape(len(x), *self.graph.nodes[0].shape))
        return margins.gather(1, self.rows[case]).amax(1)

    def query(self, x: Float64[Tensor, "points inputs"], case: Int64[Tensor, " points"]) -> Counterexample | None:
        """A witness among points, moved into their case's box, that violate the property on graph and model."""
        x = self._in_boxes(x, case)
        margin = self.worst(x, case)
        for i in margin.argsort()[:_SHOWN].tolist():
            if not margin[i] <= 1e-4 * (1 + margin[i].abs()):
                break
            if (found := self._witness(x[i : i + 1], int(case[i]))) is not None:
                return found
        return None

    def show(self, x: Float64[Tensor, "points inputs"], case: Int64[Tensor, " points"]) -> Counterexample | None:
        """A witness among all points by the model alone: rounding may make it differ from the graph."""
        x = self._in_boxes(x, case)
        for some in torch.arange(len(x)).split(_AT_ONCE):
            y = self._run(x[some])
            for place in case[some].unique().tolist():
                own = (case[some] == place).nonzero().squeeze(1)
                stated = self.property.cases[place]
                unsafe = y[own].isfinite().all(1) & (y[own] @ stated.weights.T + stated.offsets <= 0).all(1)
                for i in some[own[unsafe]].tolist():
                    found = self._witness(x[i : i + 1], place)
                    if found is not None:
                        return found
        return None

    def _witness(self, x: Float64[Tensor, "1 inputs"], case: int) -> Counterexample | None:
        """The point, if the model violates the property there in a batch of one."""
        low = self.low[case]
        high = self.high[case]
        if not (self.possible[case] and (x >= low).all() and (x <= high).all()):
            return None
        y = self._run(x)[0]
        return Counterexample(x[0], y) if self.property.cases[case].violated(y) else None

    def descend(
        self, x: Float64[Tensor, "points inputs"], case: Int64[Tensor, " points"], steps: int, first: float = 0.25
    ) -> Float64[Tensor, "points inputs"]:
        """The best points of a sign-gradient descent of the worst margin (PGD).

        first: the first step's length, in widths of the box; the last is a hundredth of it.
        """
        low = self.low[case]
        high = self.high[case]
        best = x
        least = torch.full((len(x),), torch.inf, dtype=torch.float64)
        for taken in range(steps + 1):
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                margin = self.worst(x, case)
                (slope,) = torch.autograd.grad(margin.sum(), x)
            better = margin.detach() < least
            best = torch.where(better.unsqueeze(1), x.detach(), best)
            least = torch.where(better, margin.detach(), least)
            step = first * 0.01 ** (taken / max(1, steps))
            x = (x.detach() - step * (high - low) * slope.sign()).clamp(low, high)
        return best

    def solve(
        self, x: Float64[Tensor, "points inputs"], case: Int64[Tensor, " points"], steps: int, first: float = 0.25
    ) -> Float64[Tensor, "points inputs"]:
        """A descent of the worst margin by sequential linear programming in a trust region.

        Each step minimises the largest of the rows, linearised around the point: it descends also where rows pull in
        different directions and sign gradients oscillate. first: the trust region at first, in widths of the box; it is
        halved after a step that does not lower the margin, and grows by half after one that does.
        """
        low = self.low[case]
        high = self.high[case]
        reach = (high - low) * first
        now = self.worst(x, case)
        for _ in range(steps):
            rows = self._linear(x, case)
            _, _, tried = excess(rows, torch.maximum(low, x - reach), torch.minimum(high, x + reach))
            margin = self.worst(tried, case)
            lower = margin < now
            x = torch.where(lower.unsqueeze(1), tried, x)
            now = torch.where(lower, margin, now)
            reach = torch.where(lower.unsqueeze(1), 1.5 * reach, reach / 2)
        return x

    def _linear(self, x: Float64[Tensor, "points inputs"], case: Int64[Tensor, " points"]) -> AffineFunctions:
        """The rows of each point's case, linearised around the point."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            rows = self.graph(x.reshape(len(x), *self.graph.nodes[0].shape)).gather(1, self.rows[case])
            slopes = [torch.autograd.grad(row.sum(), x, retain_graph=True)[0] for row in rows.unbind(1)]
        slope = torch.stack(slopes, 1)
        return AffineFunctions(slope, rows.detach() - (slope @ x.detach().unsqueeze(2)).squeeze(2))

    def diversify(
        self, x: Float64[Tensor, "points inputs"], case: Int64[Tensor, " points"], steps: int, rng: torch.Generator
    ) -> Float64[Tensor, "points inputs"]:
        """Starts far apart in the margins: each moves along a random direction of all margins.

        Output diversified initialisation (Tashiro et al. 2020, arXiv:2003.06878, section 3), with sign gradients and
        steps of a quarter of the box.
        """
        low = self.low[case]
        high = self.high[case]
        direction = torch.randn(len(x), self.graph.classes, generator=rng, dtype=torch.float64)
        for _ in range(steps):
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                aim = (self.graph(x.reshape(len(x), *self.graph.nodes[0].shape)) * direction).sum()
                (slope,) = torch.autograd.grad(aim, x)
            x = (x.detach() + (high - low) / 4 * slope.sign()).clamp(low, high)
        return x

    def scatter(
        self, points: int, rng: torch.Generator, edges: bool = False
    ) -> tuple[Float64[Tensor, "points inputs"], Int64[Tensor, " points"]]:
        """`points` random points of each case's box, the first its centre. edges: half of the values are at limits."""
        case = torch.arange(len(self.low)).repeat_interleave(points)
        share = torch.rand(len(case), self.low.shape[1], generator=rng, dtype=torch.float64)
        if edges:
            share = (2 * share - 0.5).clamp(0, 1)
        share[::points] = 0.5
        return self.low[case] + share * (self.high[case] - self.low[case]), case

    def _in_boxes(self, x: Tensor, case: Tensor) -> Tensor:
        """The points rounded to the model's precision, and moved into their boxes."""
        return x.to(self.precision).double().clamp(self.low[case], self.high[case])
