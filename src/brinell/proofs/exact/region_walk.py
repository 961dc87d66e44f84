"""The nearest decision boundary of a small network, exactly, by walking its linear regions outward from x0.

Sources: Jordan et al. 2019 (GeoCert), arXiv:1903.08778; the distances are those of `threat.polytope`, whose bounds
trust no solver.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from jaxtyping import Float64

from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs.exact.exact import Exact, Nearest, alternatives
from brinell.proofs.exact.regions import Region, walk
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import ReLU
from brinell.proofs.query.verifier import Checkpoint, nothing
from brinell.proofs.relaxation.arithmetic import rounding_error
from brinell.threat import PerturbationSet
from brinell.threat.goal import met
from brinell.types import Inputs, Labels, Logits

Leads = Float64[np.ndarray, "leads classes"]
"""Functionals of the scores, all of which have to be >= 0 at an adversarial input."""

BELOW = 1 - 2.0**-30
"""Factor of a certified radius: the tolerances of the walk are smaller than the difference."""

BEYOND = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
"""How far beyond the boundary, where scores tie, candidates lie, as shares of its distance."""

AHEAD = (1e-7, 1e-6, 1e-5, 1e-4)
"""Leads that candidates are sought with, where none along the line to the boundary is adversarial."""


@final
@dataclass(frozen=True)
class RegionWalk(Exact[Graph]):
    """GeoCert (Jordan et al. 2019), for ReLU networks of few inputs.

    regions: visited for an example, at most; where they do not suffice, the certificate reaches as far as the walk.
    inputs: the most inputs of a network, as each neuron may divide each region. Both >= 1. A certificate allows for the
    rounding of the network in float32, and yet is `REAL`: the walk has tolerances, and may miss a region narrower than
    those.
    """

    reads: ClassVar[type] = Graph
    sets: ClassVar[tuple[str, ...]] = ("linf", "l1", "l2")
    regions: int = 1000
    inputs: int = 20

    def __post_init__(self) -> None:
        if self.regions < 1 or self.inputs < 1:
            raise UsageError(f"regions is {self.regions} and inputs {self.inputs}; both must be at least 1")

    def unfit(self, model: Graph) -> str | None:
        inputs = math.prod(model.nodes[0].shape)
        if inputs > self.inputs:
            return f"the network has {inputs} inputs; RegionWalk walks up to {self.inputs}"
        nonlinearities = {
            type(model.nonlinearity(i)).__name__
            for i in model.nonlinearities
            if not isinstance(model.nonlinearity(i), ReLU)
        }
        said = f"{', '.join(sorted(nonlinearities))} has no linear pieces to walk; RegionWalk reads ReLUs alone"
        return said if nonlinearities else None

    def __call__(
        self,
        model: Graph,
        x0: Inputs,
        y: Labels,
        perturbation: PerturbationSet,
        aims: Labels | None = None,
        ask: Callable[[Inputs], Logits] | None = None,
        checkpoint: Checkpoint = nothing,
    ) -> Nearest:
        self.check(perturbation)
        if (reason := self.unfit(model)) is not None:
            raise UsageError(reason)
        if x0.shape[1:] != model.nodes[0].shape:
            raise UsageError(f"an example has shape {tuple(x0.shape[1:])}; the graph has {model.nodes[0].shape}")
        operators = [model.operator(i) for i in range(1, len(model.nodes))]
        finite = all(bool(v.isfinite().all()) for operator in operators for v in _constants(operator))

        x = x0.clone()
        asked = torch.zeros(len(x0), dtype=torch.int64)
        distance, certified = torch.full((2, len(x0)), torch.inf, dtype=torch.float64)
        for row in range(len(x0)):
            one = x0[row : row + 1]
            label = y[row : row + 1]
            aim = None if aims is None else aims[row : row + 1]
            if not finite or not bool(one.isfinite().all()):
                certified[row] = -torch.inf
                continue

            ways = _ways(model.classes, int(label), None if aim is None else int(aim))
            walked = self._walked(model, one, perturbation, ways, checkpoint)
            for point in _candidates(one, walked.found, perturbation):
                asked[row] += 1
                if met((ask or model)(point).to(point.device), label, aim):
                    x[row] = point[0]
                    distance[row] = float(perturbation.distance(one, point))
                    break

            reached = _with_rounding(model, one, perturbation, ways, walked)
            certified[row] = min(reached * BELOW, perturbation.radius) if reached > 0 else -torch.inf
        margin = torch.where(certified > -torch.inf, 0.0, -torch.inf)
        distance, certified, margin = (v.to(x.device) for v in (distance, certified, margin))
        return Nearest(x, distance, certified, margin, asked.to(x.device), (Soundness.REAL,) * len(x))

    def _walked(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, ways: list[Leads], checkpoint: Checkpoint
    ) -> "_Walked":
        found: list[_Found] = []
        regions: list[Region] = []
        nearest = math.inf
        end = math.inf
        widest = perturbation.box.width * x0[0].numel()
        for distance, region in walk(graph, x0, perturbation, checkpoint):
            if distance >= min(nearest, perturbation.radius * (1 + 1e-9)) or len(regions) == self.regions:
                end = distance
                break
            regions.append(region)
            for leads in ways:
                if _plane(region, leads, 0.0, x0, perturbation) < nearest:
                    x, bound = perturbation.nearest_in(x0, *region.within(leads))
                    if bound <= widest and x is not None:
                        found.append(_Found(bound, x, region, leads))
                        nearest = min(nearest, bound)
        found.sort(key=lambda one: one.bound)
        return _Walked(regions, found, min(nearest, end), end, widest)


@final
@dataclass(frozen=True, eq=False)
class _Found:
    """The nearest point of a region at which all of `leads` are >= 0."""

    bound: float
    x: np.ndarray
    region: Region
    leads: Leads


@final
@dataclass(frozen=True, eq=False)
class _Walked:
    """What a walk has seen. regions: visited. found: the nearest adversarial points of regions, the nearest first.

    nearest: a lower bound on the distance of any adversarial point. end: the distance of the next region, not visited.
    widest: no distance in the box is larger, so a point that is farther does not exist.
    """

    regions: list[Region]
    found: list[_Found]
    nearest: float
    end: float
    widest: float


def _with_rounding(
    graph: Graph, x0: Inputs, perturbation: PerturbationSet, ways: list[Leads], walked: _Walked
) -> float:
    """The radius within which no input is adversarial, even by the rounding of the network in float32."""
    near = perturbation.resized(min(perturbation.radius, walked.nearest))
    reached = walked.end
    for leads in ways:
        rows = torch.from_numpy(leads).unsqueeze(0)
        slack = rounding_error(graph, x0, near, rows, Soundness.FLOAT32, "interval")[0]
        allowed = slack.where(slack.isfinite(), 0.0).cpu().numpy()
        for region in walked.regions:
            if _plane(region, leads, allowed, x0, perturbation) < reached:
                bound = perturbation.nearest_in(x0, *region.within(leads, allowed))[1]
                reached = min(reached, bound) if bound <= walked.widest else reached
    return reached


def _constants(operator: object) -> list[torch.Tensor]:
    return [value for value in vars(operator).values() if isinstance(value, torch.Tensor)]


def _ways(classes: int, y: int, aim: int | None) -> list[Leads]:
    eye = np.eye(classes)
    return [np.stack([eye[ahead] - eye[behind] for ahead, behind in way]) for way in alternatives(classes, y, aim)]


def _plane(region: Region, leads: Leads, slack: np.ndarray | float, x0: Inputs, perturbation: PerturbationSet) -> float:
    """A lower bound on the distance of {leads @ scores >= -slack}: that of the farthest of its hyperplanes."""
    slopes = leads @ region.weights
    constants = leads @ region.constant + slack
    short = -(slopes @ x0.flatten().double().cpu().numpy() + constants)
    far = [perturbation.to_plane(torch.from_numpy(w), float(by)) for w, by in zip(slopes, short, strict=True) if by > 0]
    return max(far, default=0.0) * (1 - 1e-9)


def _candidates(x0: Inputs, found: list[_Found], perturbation: PerturbationSet) -> Iterator[Inputs]:
    """Candidates for the model: each point found, points farther along its line, and points deeper in its region.

    The latter because the line to a corner of a region may leave it there at once.
    """
    for one in found:
        yield from _beyond(x0, one.x, perturbation)
        for ahead in AHEAD:
            x, _ = perturbation.nearest_in(x0, *one.region.within(one.leads, -ahead))
            if x is not None:
                yield from _beyond(x0, x, perturbation, (0.0,))


def _beyond(
    x0: Inputs, point: np.ndarray, perturbation: PerturbationSet, shares: tuple[float, ...] = BEYOND
) -> list[Inputs]:
    """The point, and points a little farther along its line, that lie in the perturbation set."""
    move = torch.from_numpy(point).reshape(x0.shape) - x0.double()
    low, high = perturbation.box.limits(x0)
    points = [torch.clamp((x0.double() + (1 + more) * move).to(x0.dtype), low, high) for more in shares]
    return [x for x in points if bool(perturbation.contains(x0, x))]
