"""GloRo: a margin that is larger than the network can take back over the whole radius.

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
    """The margin of each example less a constant of the network times how far the set reaches.

    The constants are found once, so that each example costs its scores and no more. They tell something of networks
    that were trained for it. Any set serves: its l2 length and its linf length are each tried, and the better taken.
    steps: of Gram iteration. memory: bytes, about, that it may take.
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
    """The least distance at which any class may catch up with the leading one; 0 where two classes lead.

    pairs: `Constants.pairs` of the norm in which distances are measured. The decision of the example keeps within any
    smaller distance: it is min over i of (y_j - y_i) / K_ij for the leading class j. Scores of float32 are
    off by their own rounding, and so is the radius.
    """
    ahead, rivals = _ahead(scores, pairs)
    reach = (ahead / rivals).masked_fill(rivals == 0, torch.inf)  # what cannot move never catches up ...
    reach = reach.masked_fill(~(ahead > 0), 0.0)  # ... unless it has
    return (reach * (1 - 4 * norms.UNIT)).nan_to_num(0.0, posinf=torch.inf).amin(1)


def with_bottom(scores: Logits, pairs: Float64[Tensor, "classes classes"], radius: float) -> Logits:
    """The scores and, as the class "bottom", the most that any other class may come to within the radius.

    Where the last of them leads, or ties, the example is not certified.
    """
    leader = scores.argmax(1, keepdim=True)
    others = scores.double() + radius * pairs[leader.squeeze(1)]
    bottom = others.scatter(1, leader, -torch.inf).amax(1, keepdim=True)
    return torch.cat((scores.double(), bottom), 1)


def _ahead(
    scores: Logits, pairs: Float64[Tensor, "classes classes"]
) -> tuple[Float[Tensor, "batch others"], Float[Tensor, "batch others"]]:
    """(how far the leading class leads each other one, the constant of that lead)."""
    scores = scores.double()
    leader = scores.argmax(1, keepdim=True)
    others = torch.ones_like(scores, dtype=torch.bool).scatter(1, leader, False)  # by its place, not by its value
    count = scores.shape[1] - 1
    lead = (scores.gather(1, leader) - scores)[others].reshape(-1, count)
    return lead, pairs[leader.squeeze(1)][others].reshape(-1, count)
