"""alpha-CROWN: CROWN with the slopes of its lower relaxations optimised by gradient ascent.

Source: Xu et al. 2021, arXiv:2011.13824, section 3.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Interval
from brinell.proofs.numerics.rounding import Precision, check_precision, trusted
from brinell.proofs.query.problem import Problem, solve, sound
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.intermediate import refined
from brinell.proofs.relaxation.network import Relaxation, best, relax
from brinell.proofs.relaxation.optimised import Optimisation, first, optimise
from brinell.threat import PerturbationSet
from brinell.types import Inputs, Mask


@final
@dataclass(frozen=True, kw_only=True)
class AlphaCROWN(Verifier):
    """Each row that CROWN leaves open is optimised with slopes of its own, and keeps its best bound.

    optimisation: of the rows. intermediate: of the intermediate layers, one after another, for examples with an open
    row; None leaves CROWN's intermediate bounds, which the paper does not, at a fraction of the time. reach: how far
    below zero the lowest bound of an example may lie for it to be optimised, in units of the mean absolute deviation of
    its bounds; None optimises all. precision: of the substitution for intermediate bounds, whose rounding error widens
    them. memory: bytes, about, that it may take. Raises UsageError for reach < 0, or an unknown precision.
    """

    optimisation: Optimisation = Optimisation(steps=10, patience=2)
    intermediate: Optimisation | None = None
    reach: float | None = None
    precision: Precision = "float64"
    memory: int = 2**24
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __post_init__(self) -> None:
        if self.reach is not None and not self.reach >= 0:
            raise UsageError(f"reach is {self.reach}; it must be at least 0, or None to optimise all")
        check_precision(self.precision)

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        relaxed = relax(problem, "adaptive", substituted=True, dtype=trusted(self.precision))
        bounds = best(problem, relaxed)
        example, row = (~(bounds > 0) & self._within_reach(bounds).unsqueeze(1)).nonzero(as_tuple=True)
        intervals = self._refined(problem, relaxed, example)
        alone = problem.only(example).asking(problem.spec[example, row].unsqueeze(1))
        improved, _, _ = optimise(alone, first(problem.graph, intervals, 1), self.optimisation)  # [open rows, 1]
        improved = improved.squeeze(1)
        before = bounds[example, row]
        bounds[example, row] = torch.where(improved > before, improved, before)
        return sound(relaxed.intervals, bounds)

    def _refined(self, problem: Problem, relaxed: Relaxation, example: Tensor) -> list[Interval]:
        """The intervals of these examples, each named once an open row; optimised where `intermediate` says so."""
        if self.intermediate is None or not len(example):
            return [(low[example], high[example]) for low, high in relaxed.intervals]
        alone, row = example.unique(return_inverse=True)
        known = [(low[alone], high[alone]) for low, high in relaxed.intervals]
        return [(low[row], high[row]) for low, high in refined(problem.only(alone), known, self.intermediate)]

    def _within_reach(self, bounds: Margins) -> Mask:
        """Whether zero is within `reach`. A single row has no deviation, and is always optimised."""
        if self.reach is None or bounds.shape[1] == 1:
            return torch.ones(len(bounds), dtype=torch.bool)
        deviation = (bounds - bounds.mean(1, keepdim=True)).abs().mean(1)
        return bounds.amin(1) >= -self.reach * deviation
