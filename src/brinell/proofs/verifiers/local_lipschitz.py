"""Local Lipschitz constants: how fast a margin can decrease near one example."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

from brinell.evidence import Soundness
from brinell.proofs.lipschitz.bounds import lipschitz_bounds
from brinell.proofs.lipschitz.secants import by_secants
from brinell.proofs.network.graph import Graph
from brinell.proofs.query.problem import Problem, solve, sound
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.network import relax
from brinell.threat import PerturbationSet
from brinell.types import Inputs


@final
@dataclass(frozen=True, kw_only=True)
class LocalLipschitz(Verifier):
    """The margin of an example less the most that secants from it, to anywhere in the set, let it decrease.

    Never looser than `GloRo`, where every operator has a Lipschitz rule. Pre-activations are bounded by intervals and
    by Lipschitz constants, whichever is tighter. intermediate: "crown" bounds them by backward substitution as well.
    memory: bytes, about, that it may take.
    """

    intermediate: Literal["interval", "crown"] = "interval"
    memory: int = 2**25
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        crown = self.intermediate == "crown"
        known = lipschitz_bounds(problem)
        # The constants bound the first layer as tightly as substitution would: intervals over the hull suffice.
        over = replace(problem, domain=problem.hull) if known and not crown else problem
        intervals = relax(over, "adaptive" if crown else None, crown, known=known).intervals
        return sound(intervals, by_secants(problem, intervals))
