"""Forward CROWN: linear functions of the input below and above every node, in one forward pass.

Source: Xu et al. 2020, arXiv:2002.12920, section 3.1 (forward mode LiRPA, and forward followed by backward).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

import torch

from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Affine, Interval, TwoSided, Values
from brinell.proofs.query.problem import Problem, solve, sound
from brinell.proofs.query.substitution import substitute, written
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.forward import (
    ForwardBound,
    Slopes,
    in_parts,
    itself,
    largest,
    least,
    propagated,
    rounding_of,
    weighed,
)
from brinell.proofs.relaxation.network import Relaxation, best, elided
from brinell.threat import PerturbationSet
from brinell.types import Inputs


@final
@dataclass(frozen=True, kw_only=True)
class ForwardCROWN(Verifier):
    """One pass bounds all neurons, with one coefficient an input: inexpensive where inputs are few.

    finish: how the specification is bounded, by the same pass ("forward") or by backward substitution, which is tighter
    ("backward"). memory: bytes, about, that it may take. Raises UsageError for another finish.
    """

    finish: Literal["forward", "backward"] = "backward"
    memory: int = 2**27
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __post_init__(self) -> None:
        if self.finish not in ("forward", "backward"):
            raise UsageError(f"finish is {self.finish!r}; it must be 'forward' or 'backward'")

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        return in_parts(self._part, problem)

    def _part(self, problem: Problem) -> Margins:
        start = itself(problem)
        zero = torch.zeros_like(problem.x0)
        relaxed, linear, sizes = propagated(problem, "adaptive", Between((start, start), (zero, zero)), _step)
        if self.finish == "backward":
            return sound(relaxed.intervals, best(problem, relaxed))
        finished = _finished(problem, relaxed, linear, sizes)
        return sound(relaxed.intervals, torch.maximum(finished, elided(problem, relaxed)))


@final
@dataclass(frozen=True, eq=False)
class Between(ForwardBound):
    """<slopes[0], x> + constants[0] <= node <= <slopes[1], x> + constants[1], for every input allowed."""

    slopes: tuple[Slopes, Slopes]
    constants: tuple[Values, Values]

    @property
    def terms(self) -> int:
        return self.slopes[0].shape[1] + 1

    def size(self, inputs: Values) -> Values:
        low, high = self.slopes
        base, top = self.constants
        return torch.maximum(largest(inputs, low) + base.abs(), largest(inputs, high) + top.abs())

    def loosened(self, by: Values) -> "Between":
        base, top = self.constants
        return replace(self, constants=(base - by, top + by))

    def limits(self, problem: Problem) -> Interval:
        low, high = self.slopes
        base, top = self.constants
        return least(problem, low) + base, top - least(problem, -high)


def _step(relaxation: TwoSided, inputs: Sequence[Between]) -> Between:
    slopes = relaxation.forward_bounds(*(one.slopes for one in inputs), offset=False)
    constants = [(one.constants[0].unsqueeze(1), one.constants[1].unsqueeze(1)) for one in inputs]
    base, top = relaxation.forward_bounds(*constants, offset=True)
    return Between(slopes, (base.squeeze(1), top.squeeze(1)))


def _finished(problem: Problem, relaxed: Relaxation, linear: Sequence[Between], sizes: Sequence[Values]) -> Margins:
    """The specification's bounds, the affine layers after the last nonlinearities merged into it."""
    affine = {i: relaxation for i, relaxation in relaxed.relaxations.items() if isinstance(relaxation, Affine)}
    held, bounds = substitute(problem.graph, problem.graph.output, problem.spec, affine)
    slopes = problem.spec.new_zeros(*problem.spec.shape[:2], problem.x0[0].numel())
    for i, a in held.items():
        positive = written(a).clamp(min=0)
        negative = written(a).clamp(max=0)
        low, high = linear[i].slopes
        base, top = linear[i].constants
        slopes = slopes + weighed(positive, low) + weighed(negative, high)
        ends = weighed(positive, base.unsqueeze(1)) + weighed(negative, top.unsqueeze(1))
        bounds = bounds + ends.squeeze(2) - rounding_of(written(a), sizes[i], linear[i].terms)
    return bounds + problem.least(slopes.reshape(*slopes.shape[:2], *problem.x0.shape[1:]))
