"""Local Lipschitz constants: how fast a margin can fall near one example."""

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
    """The margin of an example less what secants from it, to anywhere in the set, can take away.

    Never less than `GloRo` shows, where every operator has a rule for that. What the set can switch is bounded by
    intervals and by the network's own constants, whichever say more. intermediate: how the neurons are bounded that may
    switch. memory: bytes, about, that it may take.
    """

    intermediate: Literal["interval", "crown"] = "interval"
    memory: int = 2**25
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        crown, around = self.intermediate == "crown", lipschitz_bounds(problem)
        # The constants hold the first layer as near as substitution would: the hull serves, and costs no functionals.
        over = replace(problem, domain=problem.hull) if around and not crown else problem
        intervals = relax(over, "adaptive" if crown else None, crown, known=around).intervals
        return sound(intervals, by_secants(problem, intervals))
