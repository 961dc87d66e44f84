"""Interval bound propagation.

Source: Gowal et al. 2018, arXiv:1810.12715, section 3.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from brinell.evidence import Soundness
from brinell.threat import PerturbationSet
from brinell.types import Inputs
from brinell.verify.graph import Graph
from brinell.verify.problem import Problem, solve, sound
from brinell.verify.relaxation import elided, relax
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing


@final
@dataclass(frozen=True, kw_only=True)
class IBP(Verifier):
    """Intervals forward; the affine layers after the last bend are taken together with the specification.

    The cheapest proof: about two forward passes. memory: bytes, about, that it may take.
    """

    memory: int = 2**25
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __call__(
        self, graph: Graph, x0: Inputs, set: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(_bound, graph, x0, set, spec, self.memory, checkpoint)


def _bound(problem: Problem) -> Margins:
    relaxed = relax(problem, None, substituted=False)
    return sound(relaxed.intervals, elided(problem, relaxed))
