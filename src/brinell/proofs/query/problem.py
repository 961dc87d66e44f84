"""What a verifier is asked, prepared: float64, on the CPU, in chunks that fit the memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.errors import UsageError
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Constants, Interval, Windows
from brinell.proofs.numerics.simplex import AffineFunctions, least
from brinell.proofs.query.substitution import Functional, written
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec
from brinell.threat import Box, PerturbationSet
from brinell.threat.sets import least_over_box
from brinell.types import Inputs

_COPIES = 6
"""Tensors the size of the widest functional that are alive at one time during a substitution."""


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """The examples of one chunk, and the rows <spec row, scores(x)> to bound from below for each.

    memory: bytes that functionals may take at one time, about. domain: a box within the perturbation set, one an
    example, that restricts the inputs; None is the whole set. constraints: affine functions of the inputs, in flat
    order, that restrict the domain further, to where all are <= 0.
    """

    graph: Graph
    x0: Float[Tensor, " batch *shape"]
    perturbation: PerturbationSet
    spec: Float[Tensor, " batch rows classes"]
    memory: int
    checkpoint: Checkpoint
    domain: Interval | None = None
    constraints: AffineFunctions | None = None

    def least(self, a: Functional) -> Constants:
        """A lower bound on <a, x> over the inputs allowed, or over their hull where that is as good and costs less."""
        if self.constraints is not None:
            slopes = written(a).flatten(2)
            functions = AffineFunctions(slopes, slopes.new_zeros(slopes.shape[:2]))
            return least(functions, self.constraints, *(end.flatten(1) for end in self.hull))
        if self.is_box:
            return least_over_box(*self.hull, written(a))
        return self.perturbation.minimum(self.x0, written(a))

    def least_ahead(self, a: Functional) -> Constants:
        """A lower bound on <a, last box node>, up to rounding."""
        if self.is_box and self.constraints is None:
            return _least(self.last_box_node[1], a)
        return self.least(a)

    @cached_property
    def last_box_node(self) -> tuple[int, Interval]:
        """(the last node whose reachable set is a box, that box): substitution need go no further back.

        It is the input, with its hull, where the allowed inputs are no box.
        """
        box = self.hull
        if not self.is_box or self.constraints is not None:
            return 0, box
        for i in range(1, self.graph.last_box_node + 1):
            box = self.graph.operator(i).interval(box)
        return self.graph.last_box_node, box

    @cached_property
    def hull(self) -> Interval:
        """The lowest and the highest value of each input."""
        return self.perturbation.hull(self.x0) if self.domain is None else self.domain

    @cached_property
    def is_box(self) -> bool:
        """Whether the allowed inputs are their own hull, or seem to be: then intervals are exact at the first layer."""
        if self.domain is not None or self.perturbation.rectangular:
            return True
        ones = torch.ones_like(self.x0).unsqueeze(1)
        body = self.perturbation.minimum(self.x0, ones)
        return bool(torch.allclose(body, least_over_box(*self.hull, ones), rtol=1e-9, equal_nan=True))

    def rows(self, width: int) -> int:
        """How many functionals of `width` values an example fit the memory at one time."""
        return max(1, self.memory // (self.x0.element_size() * _COPIES * width * max(1, len(self.x0))))

    def asking(self, spec: Float[Tensor, " batch rows classes"]) -> "Problem":
        """The same examples with another specification."""
        return replace(self, spec=spec)

    def cast(self, dtype: torch.dtype) -> "Problem":
        """The same problem in this precision; `numerics.rounding` bounds what that rounds."""
        if dtype is self.x0.dtype:
            return self
        domain = None if self.domain is None else (self.domain[0].to(dtype), self.domain[1].to(dtype))
        return replace(
            self, graph=self.graph.cast(dtype), x0=self.x0.to(dtype), spec=self.spec.to(dtype), domain=domain
        )

    def only(self, chosen: Tensor) -> "Problem":
        """The same problem of some of the examples."""
        domain = (self.hull[0][chosen], self.hull[1][chosen]) if self.is_box else None
        constraints = None if self.constraints is None else self.constraints.only(chosen)
        return replace(self, x0=self.x0[chosen], spec=self.spec[chosen], domain=domain, constraints=constraints)


def solve(
    solver: Callable[[Problem], Margins],
    graph: Graph,
    x0: Inputs,
    perturbation: PerturbationSet,
    spec: Spec,
    memory: int,
    checkpoint: Checkpoint,
) -> Margins:
    """The solver's bounds, chunk after chunk; -inf wherever they are not finite.

    Raises UsageError where x0 or spec has another shape than the graph asks for.
    """
    if x0.shape[1:] != graph.nodes[0].shape:
        raise UsageError(f"an example has shape {tuple(x0.shape[1:])}; the graph was traced for {graph.nodes[0].shape}")
    if spec.shape[0] != len(x0) or spec.shape[2] != graph.classes:
        raise UsageError(
            f"spec has shape {tuple(spec.shape)}; it must be (examples, rows, classes): "
            f"({len(x0)}, rows, {graph.classes})"
        )
    perturbation = perturbation.within(_as_held(perturbation.box, x0))
    x0_cpu = x0.to("cpu", torch.float64)
    spec_cpu = spec.to("cpu", torch.float64)

    bounds = torch.full(spec.shape[:2], -torch.inf, dtype=torch.float64)
    for chunk in _chunks(len(x0), max(1, memory // (8 * _COPIES * graph.width * spec.shape[1]))):
        checkpoint()
        bounds[chunk] = solver(Problem(graph, x0_cpu[chunk], perturbation, spec_cpu[chunk], memory, checkpoint))
    return bounds.where(bounds.isfinite(), -torch.inf).to(x0.device)


def sound(intervals: list[Interval], bounds: Margins) -> Margins:
    """The bounds, -inf for an example with a crossed or NaN interval: it proves nothing."""
    kept = torch.ones(len(bounds), dtype=torch.bool)
    for low, high in intervals:
        kept &= (low <= high).flatten(1).all(1)
    return bounds.where(kept.unsqueeze(1), -torch.inf)


def _least(box: Interval, a: Functional) -> Constants:
    """min <a, x> over the box, <a, centre> - <|a|, half-width>: half the time of choosing an end for each value."""
    centre, half = ((box[1] + sign * box[0]).unsqueeze(1) / 2 for sign in (1, -1))
    if isinstance(a, Windows):
        return a.on(centre) - a.of(a.values.abs()).on(half)
    rows = a.flatten(2)
    return (rows @ centre.flatten(2).mT - rows.abs() @ half.flatten(2).mT).squeeze(2)


def _as_held(box: Box, x0: Inputs) -> Box:
    """The box with its limits rounded to the precision of x0, which is what they mean."""
    low, high = (limit.double().flatten().tolist() for limit in box.limits(x0))
    return Box.of((low if len(low) > 1 else low[0], high if len(high) > 1 else high[0]))


def _chunks(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
