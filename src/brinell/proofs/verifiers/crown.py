"""CROWN: linear bounds of the whole network by backward substitution.

Source: Zhang et al. 2018, arXiv:1811.00866; for general graphs Xu et al. 2020, arXiv:2002.12920.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from brinell.evidence import Soundness
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Slope
from brinell.proofs.numerics.rounding import Precision, check_precision, trusted
from brinell.proofs.query.problem import Problem, solve, sound
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.network import Intermediate, best, relax
from brinell.threat import PerturbationSet
from brinell.types import Inputs


@final
@dataclass(frozen=True, kw_only=True)
class CROWN(Verifier):
    """slope: of the lower relaxations; "adaptive" is CROWN-Ada and DeepPoly, "same" is Fast-Lin and the dual of Wong
    and Kolter. intermediate: whether intermediate layers are bounded by substitution too ("crown"), or by intervals
    alone ("interval": CROWN-IBP, Zhang et al. 2020, arXiv:1906.06316). precision: of that substitution, whose rounding
    error widens the bounds. memory: bytes, about, that it may take. Raises UsageError for an unknown precision.
    """

    slope: Slope = "adaptive"
    intermediate: Intermediate = "crown"
    precision: Precision = "float64"
    memory: int = 2**24
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __post_init__(self) -> None:
        check_precision(self.precision)

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        relaxed = relax(problem, self.slope, self.intermediate == "crown", trusted(self.precision))
        return sound(relaxed.intervals, best(problem, relaxed))
