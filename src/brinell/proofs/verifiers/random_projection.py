"""The bound of Wong and Kolter's dual network, estimated by Cauchy random projections: fast, and no certificate.

Source: Wong et al. 2018, arXiv:1805.12514. The widths of all bounds are l1 norms. A sum of numbers with independent
standard Cauchy weights is a Cauchy variable whose scale is their l1 norm, so the median absolute value of a few such
sums estimates it. Half of the time it is too small.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.errors import UsageError
from brinell.evidence import Estimate
from brinell.proofs.network.graph import Graph, Unsupported
from brinell.proofs.network.operators import Affine, ReLU, Values
from brinell.proofs.query.problem import Problem, solve
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, nothing
from brinell.threat import PerturbationSet
from brinell.types import Inputs

Sketch = Float64[Tensor, "batch projections *shape"]
"""Projections of each value: its deviations from the centre, summed with Cauchy weights that all values share."""


@final
@dataclass(frozen=True, kw_only=True)
class RandomProjection:
    """An estimate of CROWN's bounds with slope "same", of intermediate layers too; for sets that are boxes.

    One sketch accumulates the input and every nonlinearity, where the paper carries one for each: their scales add up.
    projections: in a sketch, >= 1; the cost is that of as many forward passes. memory: bytes, about, that it may take.
    """

    projections: int = 50
    memory: int = 2**25

    def __post_init__(self) -> None:
        if self.projections < 1:
            raise UsageError(f"projections is {self.projections}; it must be at least 1")

    def __call__(
        self,
        graph: Graph,
        x0: Inputs,
        perturbation: PerturbationSet,
        spec: Spec,
        rng: torch.Generator,
        checkpoint: Checkpoint = nothing,
    ) -> Estimate:
        """Estimated lower bounds on <spec row, scores(x)> over perturbation ∩ box. rng: on the CPU, as the work is.

        Raises UsageError for a set that is no box, Unsupported for a nonlinearity that is no ReLU.
        """

        def estimated(problem: Problem) -> Margins:
            return self._estimated(problem, rng)

        values = solve(estimated, graph, x0, perturbation, spec, self.memory // self.projections, checkpoint)
        return Estimate(values, f"the median of {self.projections} Cauchy projections")

    def _estimated(self, problem: Problem, rng: torch.Generator) -> Margins:
        if not problem.is_box:
            raise UsageError(
                f"RandomProjection estimates bounds over boxes only, and the set is {problem.perturbation.name}"
            )
        low, high = problem.hull
        centres = [(low + high) / 2]
        sketches = [self._cauchy((high - low) / 2, rng)]
        for i, node in enumerate(problem.graph.nodes[1:], 1):
            operator = problem.graph.operator(i)
            centre = [centres[j] for j in node.inputs]
            sketch = [sketches[j] for j in node.inputs]
            if isinstance(operator, Affine):
                still = operator.forward(*(torch.zeros_like(c[:1]) for c in centre))
                moved = operator.forward(*(s.flatten(0, 1) for s in sketch)) - still
                centres.append(operator.forward(*centre))
                sketches.append(moved.unflatten(0, sketch[0].shape[:2]))
            elif isinstance(operator, ReLU):
                slope, intercept = _chord(centre[0], _scale(sketch[0]))
                centres.append(slope * centre[0] + intercept / 2)
                sketches.append(slope.unsqueeze(1) * sketch[0] + self._cauchy(intercept / 2, rng))
            else:
                raise Unsupported(f"{type(operator).__name__} has no rule for random projections")
        at_centre = (problem.spec @ centres[-1].unsqueeze(2)).squeeze(2)
        return at_centre - _scale(sketches[-1] @ problem.spec.mT)

    def _cauchy(self, widths: Values, rng: torch.Generator) -> Sketch:
        weights = torch.empty(len(widths), self.projections, *widths.shape[1:], dtype=torch.float64)
        return weights.cauchy_(generator=rng) * widths.unsqueeze(1)


def _scale(sketch: Sketch) -> Values:
    return sketch.abs().median(1).values


def _chord(centre: Values, width: Values) -> tuple[Values, Values]:
    """(slope, intercept): slope * z <= relu(z) <= slope * z + intercept, for |z - centre| <= width."""
    low = centre - width
    high = centre + width
    slope = high.clamp(min=0) / (high.clamp(min=0) - low.clamp(max=0)).clamp(min=1e-300)
    return slope, (slope * -low).clamp(min=0)
