"""GloRo: a margin larger than a global Lipschitz constant lets it decrease over the radius.

Source: Leino et al. 2021, arXiv:2102.08452.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs.lipschitz import norms
from brinell.proofs.lipschitz.bounds import clean_margins, decrease
from brinell.proofs.lipschitz.constants import constants
from brinell.proofs.network.graph import Graph
from brinell.proofs.query.problem import Problem, solve
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.threat import PerturbationSet
from brinell.types import Inputs, Logits, Scores


@final
@dataclass(frozen=True, kw_only=True)
class GloRo(Verifier):
    """The margin of each example less a Lipschitz constant of it times the extent of the perturbation set.

    The constants are computed once for a network, so that an example costs one forward pass. They are of use for
    networks that were trained for it. For any set: the extents in l2 and linf are both tried, and the better taken.
    steps: of Gram iteration, >= 1. memory: bytes, about, that it may take.
    """

    steps: int = 10
    memory: int = 2**25
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"GloRo: steps is {self.steps}; it must be at least 1")

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        return clean_margins(problem) - decrease(problem, constants(problem.graph, self.steps))


def certified_radius(scores: Logits, pairs: Float64[Tensor, "classes classes"]) -> Scores:
    """The radius within which the decision is certified: min over i of (y_j - y_i) / K_ij for the leading class j.

    pairs: K, `Constants.pairs` of the norm in which distances are measured. 0 where two classes lead. Scores in float32
    have their own rounding error, which the radius does not allow for.
    """
    lead, constant = _leads(scores, pairs)
    reach = (lead / constant).masked_fill(constant == 0, torch.inf)  # a lead that cannot change is kept ...
    reach = reach.masked_fill(~(lead > 0), 0.0)  # ... if there is one
    return (reach * (1 - 4 * norms.UNIT)).nan_to_num(0.0, posinf=torch.inf).amin(1)


def with_bottom(scores: Logits, pairs: Float64[Tensor, "classes classes"], radius: float) -> Logits:
    """The scores with the class "bottom" appended: the largest score of any other class within the radius.

    The example is certified where bottom neither leads nor ties.
    """
    leader = scores.argmax(1, keepdim=True)
    others = scores.double() + radius * pairs[leader.squeeze(1)]
    bottom = others.scatter(1, leader, -torch.inf).amax(1, keepdim=True)
    return torch.cat((scores.double(), bottom), 1)


def _leads(
    scores: Logits, pairs: Float64[Tensor, "classes classes"]
) -> tuple[Float[Tensor, "batch others"], Float[Tensor, "batch others"]]:
    """(the lead of the leading class over each other class, the Lipschitz constant of that lead)."""
    scores = scores.double()
    leader = scores.argmax(1, keepdim=True)
    others = torch.ones_like(scores, dtype=torch.bool).scatter(1, leader, False)  # by its place, not by its value
    count = scores.shape[1] - 1
    lead = (scores.gather(1, leader) - scores)[others].reshape(-1, count)
    return lead, pairs[leader.squeeze(1)][others].reshape(-1, count)
