"""The nearest decision boundary of a small network, exactly: its regions are walked from x0 until the next is farther.

Sources: Jordan et al. 2019 (GeoCert), arXiv:1903.08778; the distances are those of `threat.polytope`, whose bounds rest
on no solver.
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
"""Rows of scores, all of which the adversary needs to be at least zero."""

BELOW = 1 - 2.0**-30
"""A certificate stops this share short of the distance that was found: tolerances of the walk are smaller."""

BEYOND = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
"""How far beyond the boundary, where it is a tie, a witness is sought: as shares of its distance."""

AHEAD = (1e-7, 1e-6, 1e-5, 1e-4)
"""By how much all that leads has to lead there, where farther along the same line nothing does."""


@final
@dataclass(frozen=True)
class RegionWalk(Exact[Graph]):
    """Walks from region to region (Jordan et al. 2019). For networks of ReLUs with few inputs.

    regions: how many may be looked at for an example. Where they do not suffice, the certificate reaches as far as the
    walk came. inputs: networks with more are left alone: each neuron can divide each region. A certificate leaves room
    for the rounding of the network in float32; it is `REAL` all the same: the walk itself has tolerances, and a region
    narrower than they are may be passed by.
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
        x, asked = x0.clone(), torch.zeros(len(x0), dtype=torch.int64)
        distance, certified = torch.full((2, len(x0)), torch.inf, dtype=torch.float64)
        for row in range(len(x0)):
            one, label = x0[row : row + 1], y[row : row + 1]
            aim = None if aims is None else aims[row : row + 1]
            if not finite or not bool(one.isfinite().all()):
                certified[row] = -torch.inf
                continue
            ways = _ways(model.classes, int(label), None if aim is None else int(aim))
            walked = self._walked(model, one, perturbation, ways, checkpoint)
            for point in _candidates(one, walked.found, perturbation):
                asked[row] += 1
                if met((ask or model)(point).to(point.device), label, aim):
                    x[row], distance[row] = point[0], float(perturbation.distance(one, point))
                    break
            reached = _allowing(model, one, perturbation, ways, walked)
            certified[row] = min(reached * BELOW, perturbation.radius) if reached > 0 else -torch.inf
        margin = torch.where(certified > -torch.inf, 0.0, -torch.inf)
        distance, certified, margin = (v.to(x.device) for v in (distance, certified, margin))
        return Nearest(x, distance, certified, margin, asked.to(x.device), (Soundness.REAL,) * len(x))

    def _walked(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, ways: list[Leads], checkpoint: Checkpoint
    ) -> "_Walked":
        found: list[_Found] = []
        regions: list[Region] = []
        nearest, end, widest = math.inf, math.inf, perturbation.box.width * x0[0].numel()
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
    """The point of a region that is nearest among those where all of `leads` are at least zero."""

    bound: float
    x: np.ndarray
    region: Region
    leads: Leads


@final
@dataclass(frozen=True, eq=False)
class _Walked:
    """The regions that were looked at, points of them where the adversary is served, the nearest first, and how far
    away there may be others: bounded by what was found, and by the region that would have been next. widest: no
    distance in the box is larger, so what is farther does not exist."""

    regions: list[Region]
    found: list[_Found]
    nearest: float
    end: float
    widest: float


def _allowing(graph: Graph, x0: Inputs, perturbation: PerturbationSet, ways: list[Leads], walked: _Walked) -> float:
    """How far no input serves the adversary, even one that rounding in float32 favours.

    Near the boundary the network as it runs may see things otherwise than the network in exact arithmetic.
    """
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
    """A lower bound on the distance of where all lead, but for the slack: that of the farthest of their planes."""
    slopes, constants = leads @ region.weights, leads @ region.constant + slack
    short = -(slopes @ x0.flatten().double().cpu().numpy() + constants)
    far = [perturbation.to_plane(torch.from_numpy(w), float(by)) for w, by in zip(slopes, short, strict=True) if by > 0]
    return max(far, default=0.0) * (1 - 1e-9)


def _candidates(x0: Inputs, found: list[_Found], perturbation: PerturbationSet) -> Iterator[Inputs]:
    """Points to show to the model: each that was found, farther along its line, and where its region leads by more.

    The line to a corner of a region may leave the region there at once.
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
    """The point and others a little farther, as inputs of the set."""
    move = torch.from_numpy(point).reshape(x0.shape) - x0.double()
    low, high = perturbation.box.limits(x0)
    points = [torch.clamp((x0.double() + (1 + more) * move).to(x0.dtype), low, high) for more in shares]
    return [x for x in points if bool(perturbation.contains(x0, x))]
