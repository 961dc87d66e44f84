"""The exact minimum by a mixed-integer programme: one integer for each ReLU whose side is open, solved by HiGHS.

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
"""How far from feasible HiGHS lets a solution be, and from an integer."""

DUAL_TOLERANCE = 1e-7
"""How far from feasible HiGHS lets the multipliers of a bound be, in each variable, where the largest cost is one."""


@final
@dataclass(frozen=True, kw_only=True)
class MILP(Verifier):
    """Every row alone: the bound that HiGHS has proved in `seconds`, for small networks of ReLUs.

    HiGHS works within tolerances, so its bound may be too high by them: TOLERANCE times the width of every variable is
    taken off, and DUAL_TOLERANCE times the largest cost for each of them. That is a margin, and no proof that HiGHS is
    right; `BranchAndBound` takes nothing from a solver on trust. A set that is no box is asked about as its hull: the
    bound holds, and may be less than the minimum. inner: the climb of each neuron inside, which leaves fewer integers;
    None leaves them as CROWN bounds them. memory: bytes, about, that finding their limits may take.
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
        inside = (
            relaxed.intervals if self.intermediate is None else refined(problem, relaxed.intervals, self.intermediate)
        )
        bounds = torch.full(problem.spec.shape[:2], -torch.inf, dtype=torch.float64)
        for example in range(len(bounds)):
            own = [(low[example : example + 1], high[example : example + 1]) for low, high in inside]
            graph = problem.graph
            encoding = encode(graph, own[0], {i: own[graph.nodes[i].inputs[0]] for i in graph.nonlinearities})
            for row in range(bounds.shape[1]):
                problem.checkpoint()
                bounds[example, row] = minimum(encoding, problem.spec[example, row], self.seconds).bound
        return sound(inside, bounds)


def minimum(encoding: Encoding, row: Float64[Tensor, " classes"], seconds: float) -> Least:
    """The least value of <row, outputs>, each undecided neuron on one side or the other; nothing is held."""
    integers, total = len(encoding.least), len(encoding.low)
    widened = torch.zeros(integers, integers, dtype=torch.float64)
    eye = torch.eye(integers, dtype=torch.float64)
    # output <= most * integer, and output <= input - least * (1 - integer).
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
    low, high = torch.cat((encoding.low, row.new_zeros(integers))), torch.cat((encoding.high, row.new_ones(integers)))
    # Tolerances are absolute. So a variable is measured by its own width, and a row by its largest coefficient then.
    width = (high - low).where(high > low, 1.0)
    rows, ends, constant = rows * width, ends - rows @ low, float(cost @ low + row @ encoding.outputs.offset)
    size = rows.abs().amax(1).clamp(min=torch.finfo(rows.dtype).tiny)
    price = float((cost * width).abs().amax()) or 1.0
    solved = milp(
        (cost * width / price).numpy(),
        integrality=np.repeat([0, 1], [total, integers]),
        bounds=Bounds(np.zeros(len(width)), ((high - low) / width).numpy()),
        constraints=LinearConstraint((rows / size.unsqueeze(1)).numpy(), -np.inf, (ends / size).numpy()),
        options={"time_limit": seconds, "mip_rel_gap": 0.0},
    )
    proved = solved.mip_dual_bound if integers else (solved.fun if solved.status == 0 else None)
    x = None if solved.x is None else (low + width * torch.from_numpy(solved.x).double())[: total - integers]
    if proved is None:
        return Least(-torch.inf, x)
    slack = TOLERANCE * float((high - low).sum()) + DUAL_TOLERANCE * len(width) * price
    return Least(float(proved) * price + constant - slack, x)
