"""Forward bounds: linear functions of the input below and above every node, in one pass.

Source: Xu et al. 2020, arXiv:2002.12920, section 3.1 (forward mode LiRPA, and forward followed by backward).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch

from brinell.errors import UsageError
from brinell.threat import PerturbationSet
from brinell.types import Inputs
from brinell.verify.forms import Slopes, carried, in_parts, itself, least, weighed
from brinell.verify.graph import Graph
from brinell.verify.operators import Affine, Interval, Onward, Values
from brinell.verify.problem import Problem, solve, sound
from brinell.verify.relaxation import Relaxation, best, elided
from brinell.verify.substitution import substitute, written
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing


@final
@dataclass(frozen=True, kw_only=True)
class ForwardCROWN(Verifier):
    """One pass bounds all neurons, for as many functionals as there are inputs: cheap where inputs are few.

    finish: how the specification is bounded at the end, by the same pass ("forward") or by substitution, which is
    closer ("backward"). memory: bytes, about, that it may take.
    """

    finish: Literal["forward", "backward"] = "backward"
    memory: int = 2**27

    def __post_init__(self) -> None:
        if self.finish not in ("forward", "backward"):
            raise UsageError(f"finish is {self.finish!r}; it must be 'forward' or 'backward'")

    def __call__(
        self, graph: Graph, x0: Inputs, set: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, set, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        return in_parts(self._part, problem)

    def _part(self, problem: Problem) -> Margins:
        start = itself(problem)
        zero = torch.zeros_like(problem.x0)
        relaxed, forms = carried(
            problem, "adaptive", Between((start, start), (zero, zero)), _step, lambda between: between.limits(problem)
        )
        if self.finish == "backward":
            return sound(relaxed.intervals, best(problem, relaxed))
        return sound(relaxed.intervals, torch.maximum(_finished(problem, relaxed, forms), elided(problem, relaxed)))


@final
@dataclass(frozen=True, eq=False)
class Between:
    """<slopes[0], x> + constants[0] <= node <= <slopes[1], x> + constants[1], for every input allowed."""

    slopes: tuple[Slopes, Slopes]
    constants: tuple[Values, Values]

    def limits(self, problem: Problem) -> Interval:
        """The least and the largest value."""
        (low, high), (base, top) = self.slopes, self.constants
        return least(problem, low) + base, top - least(problem, -high)


def _step(piece: Onward, forms: Sequence[Between]) -> Between:
    constants = [(base.unsqueeze(1), top.unsqueeze(1)) for base, top in (form.constants for form in forms)]
    base, top = piece.ahead(*constants, offset=True)
    return Between(piece.ahead(*(form.slopes for form in forms), offset=False), (base.squeeze(1), top.squeeze(1)))


def _finished(problem: Problem, relaxed: Relaxation, forms: Sequence[Between]) -> Margins:
    """The specification, the affine layers after the last bends taken together with it."""
    affine = {i: piece for i, piece in relaxed.pieces.items() if isinstance(piece, Affine)}
    held, bounds = substitute(problem.graph, problem.graph.output, problem.spec, affine)
    slopes = problem.spec.new_zeros(*problem.spec.shape[:2], problem.x0[0].numel())
    for i, a in held.items():
        positive, negative = written(a).clamp(min=0), written(a).clamp(max=0)
        (low, high), (base, top) = forms[i].slopes, forms[i].constants
        slopes = slopes + weighed(positive, low) + weighed(negative, high)
        ends = weighed(positive, base.unsqueeze(1)) + weighed(negative, top.unsqueeze(1))
        bounds = bounds + ends.squeeze(2)
    return bounds + problem.least(slopes.reshape(*slopes.shape[:2], *problem.x0.shape[1:]))
