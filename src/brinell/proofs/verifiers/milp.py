"""The exact minimum by a mixed-integer linear programme: a binary variable for each unstable ReLU, solved by HiGHS.

Source: Tjeng et al. 2019, arXiv:1711.07356, section 4.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float64
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from brinell.errors import UsageError
from brinell.proofs.branching.encoding import Encoding, LinearExpressions, encode
from brinell.proofs.branching.leaves import Least
from brinell.proofs.network.graph import Graph
from brinell.proofs.query.problem import Problem, solve, sound
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.intermediate import refined
from brinell.proofs.relaxation.network import relax
from brinell.proofs.relaxation.optimised import Optimisation
from brinell.threat import PerturbationSet
from brinell.types import Inputs

TOLERANCE = 1e-6
"""HiGHS's tolerance of infeasibility, and of integrality."""

DUAL_TOLERANCE = 1e-7
"""HiGHS's tolerance of dual infeasibility, in each variable, where the largest cost is one."""


@final
@dataclass(frozen=True, kw_only=True)
class MILP(Verifier):
    """The dual bound that HiGHS has proved for each row in `seconds`, for small networks of ReLUs.

    HiGHS works within tolerances, by which its bound may be too high: TOLERANCE times the width of every variable is
    subtracted, and DUAL_TOLERANCE times the largest cost for each of them. That is a safety margin, and no proof that
    HiGHS is right; `BranchAndBound` trusts no solver. A set that is no box is replaced by its hull: the bound is sound,
    and may lie below the minimum.

    seconds: for each row, > 0. intermediate: how the slopes of intermediate layers are optimised, which leaves fewer
    binary variables; None leaves CROWN's bounds. memory: bytes, about, that the intermediate bounds may take.
    """

    seconds: float = 60.0
    intermediate: Optimisation | None = Optimisation(steps=20)
    memory: int = 2**24

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise UsageError(f"seconds is {self.seconds}; it must be a positive number of seconds a row")

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        relaxed = relax(problem, "adaptive", substituted=True)
        intervals = relaxed.intervals
        if self.intermediate is not None:
            intervals = refined(problem, intervals, self.intermediate)

        bounds = torch.full(problem.spec.shape[:2], -torch.inf, dtype=torch.float64)
        for example in range(len(bounds)):
            own = [(low[example : example + 1], high[example : example + 1]) for low, high in intervals]
            graph = problem.graph
            encoding = encode(graph, own[0], {i: own[graph.nodes[i].inputs[0]] for i in graph.nonlinearities})
            for row in range(bounds.shape[1]):
                problem.checkpoint()
                bounds[example, row] = minimum(encoding, problem.spec[example, row], self.seconds).bound
        return sound(intervals, bounds)


def minimum(encoding: Encoding, row: Float64[Tensor, " classes"], seconds: float) -> Least:
    """The least value of <row, outputs>, with a binary variable for each unstable neuron; without splits.

    seconds: HiGHS's time limit.
    """
    integers = len(encoding.least)
    total = len(encoding.low)
    widened = torch.zeros(integers, integers, dtype=torch.float64)
    eye = torch.eye(integers, dtype=torch.float64)

    # Big-M (Tjeng et al. 2019, eq. 4): a >= z, a <= u d and a <= z - l (1 - d), for a = relu(z), d in {0, 1}.
    off = encoding.variables
    on = off.less(LinearExpressions(encoding.unstable.weights, encoding.unstable.offset - encoding.least))
    below = encoding.below()
    rows = torch.cat(
        (
            torch.cat((below.weights, widened), 1),
            torch.cat((off.weights, -encoding.most.unsqueeze(1) * eye), 1),
            torch.cat((on.weights, -encoding.least.unsqueeze(1) * eye), 1),
        )
    )
    ends = -torch.cat((below.offset, off.offset, on.offset))
    cost = torch.cat((row @ encoding.outputs.weights, row.new_zeros(integers)))
    low = torch.cat((encoding.low, row.new_zeros(integers)))
    high = torch.cat((encoding.high, row.new_ones(integers)))

    # HiGHS's tolerances are absolute: variables are scaled to [0, 1], then rows and costs to largest coefficients of 1.
    width = (high - low).where(high > low, 1.0)
    ends = ends - rows @ low
    constant = float(cost @ low + row @ encoding.outputs.offset)
    rows = rows * width
    size = rows.abs().amax(1).clamp(min=torch.finfo(rows.dtype).tiny)
    largest_cost = float((cost * width).abs().amax()) or 1.0
    solved = milp(
        (cost * width / largest_cost).numpy(),
        integrality=np.repeat([0, 1], [total, integers]),
        bounds=Bounds(np.zeros(len(width)), ((high - low) / width).numpy()),
        constraints=LinearConstraint((rows / size.unsqueeze(1)).numpy(), -np.inf, (ends / size).numpy()),
        options={"time_limit": seconds, "mip_rel_gap": 0.0},
    )

    proved = solved.mip_dual_bound if integers else (solved.fun if solved.status == 0 else None)
    x = None if solved.x is None else (low + width * torch.from_numpy(solved.x).double())[: total - integers]
    if proved is None:
        return Least(-torch.inf, x)
    slack = TOLERANCE * float((high - low).sum()) + DUAL_TOLERANCE * len(width) * largest_cost
    return Least(float(proved) * largest_cost + constant - slack, x)
