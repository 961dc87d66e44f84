"""The linear regions of a ReLU network: polytopes with one activation pattern, on which the network is affine.

They are walked through the faces they share, the nearest first (GeoCert, Jordan et al. 2019, arXiv:1903.08778,
algorithm 1; Fromherz et al. 2021, arXiv:2002.04742, bound distances by projections onto hyperplanes first; DISCO,
Girard-Satabin et al. 2021, arXiv:2105.07776, enumerates all regions). The pattern behind a face is that of a point just
behind it: a neuron that is zero on the face is active where its slope across the face is positive. So neurons with the
same hyperplane, or constant neurons, are no special cases.

Numbers are float64, with two tolerances: a pre-activation within TIE of zero is taken for zero, and a face narrower
than THIN is not crossed.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import final

import numpy as np
import torch
from jaxtyping import Float64
from scipy.optimize import linprog
from torch import Tensor

from brinell.proofs.network.graph import Graph, Unsupported
from brinell.proofs.network.operators import Affine, ReLU
from brinell.threat import L2, Box, PerturbationSet
from brinell.threat.polytope import centre, nearest_l2
from brinell.types import Inputs

Floats = Float64[np.ndarray, "..."]

TIE = 1e-11
"""As a share of the absolute values that a neuron sums."""

THIN = 1e-9
"""In the units of the input."""

FAR = 1e8
"""No distance is as large: that of an empty polytope is bounded by more."""


@final
@dataclass(frozen=True, eq=False)
class Region:
    """{x : normals x <= offsets}, one row a face, normals of length one; the scores are weights x + constant there.

    pattern: which neurons are active, as packed bits. neurons: the place of each face's neuron in the pattern, -1 for a
    side of the box.
    """

    pattern: bytes
    normals: Float64[np.ndarray, "faces inputs"]
    offsets: Float64[np.ndarray, " faces"]
    neurons: np.ndarray
    weights: Float64[np.ndarray, "classes inputs"]
    constant: Float64[np.ndarray, " classes"]

    def least(self, row: Floats) -> float:
        """The least value of <row, scores> in the region; -inf where it is unbounded."""
        bounds = [(None, None)] * self.normals.shape[1]
        solved = linprog(row @ self.weights, self.normals, self.offsets, bounds=bounds, method="highs")
        return float(solved.fun + row @ self.constant) if solved.status == 0 else -np.inf

    def within(self, leads: Floats, slack: Floats | float = 0.0) -> tuple[Floats, Floats]:
        """(normals, offsets) of the part of the region where leads @ scores >= -slack; leads: (rows, classes)."""
        slopes = leads @ self.weights
        constants = leads @ self.constant + slack
        length = np.linalg.norm(slopes, axis=1)
        length = np.where(length > 0, length, 1.0)
        normals = np.vstack([self.normals, -slopes / length[:, None]])
        return normals, np.append(self.offsets, constants / length)


def region(graph: Graph, point: Inputs, toward: Inputs, low: Floats, high: Floats) -> Region:
    """The linear region just behind `point`, (1, *shape), in the direction `toward`, within a box.

    Raises Unsupported where the network has a nonlinearity that is no ReLU.
    """
    inputs = point[0].numel()
    x = point.double()
    basis = torch.eye(inputs, dtype=torch.float64).reshape(1, inputs, *point.shape[1:])
    values = [x]
    slopes = [basis]  # [1, inputs, *shape]: by each input
    sizes = [x.abs()]
    patterns = []
    normals = []
    offsets = []
    flat = x.flatten().numpy()
    for i, node in enumerate(graph.nodes[1:], 1):
        operator = graph.operator(i)
        if isinstance(operator, Affine):
            values.append(operator.forward(*(values[j] for j in node.inputs)))
            slopes.append(operator.linear(*(slopes[j] for j in node.inputs)))
            ends = operator.interval(*((-sizes[j], sizes[j]) for j in node.inputs))
            sizes.append(torch.maximum(ends[0].abs(), ends[1].abs()))
            continue
        if not isinstance(operator, ReLU):
            raise Unsupported(f"{type(operator).__name__} has no linear pieces to walk; RegionWalk reads ReLUs alone")

        (j,) = node.inputs
        value = values[j].flatten()
        slope = slopes[j].flatten(2)[0].T  # [neurons, inputs]
        across = slope @ toward.double().flatten()
        zero = value.abs() <= TIE * (1 + sizes[j].flatten())
        active = torch.where(zero, across > 0, value > 0)

        # Each neuron bounds the region by the halfspace in which it keeps its sign.
        sign = torch.where(active, -1.0, 1.0).double()
        normals.append((sign.unsqueeze(1) * slope).numpy())
        offsets.append((sign * ((slope @ x.flatten()) - value.where(~zero, 0.0))).numpy())
        patterns.append(active.numpy())
        mask = active.reshape(values[j].shape)
        values.append(values[j] * mask)
        slopes.append(slopes[j] * mask.unsqueeze(1))
        sizes.append(sizes[j])
    weights = slopes[-1].flatten(2)[0].T.numpy()
    constant = values[-1].flatten().numpy() - weights @ flat
    return _region(patterns, normals, offsets, weights, constant, low, high)


def _region(
    patterns: list[np.ndarray],
    normals: list[Floats],
    offsets: list[Floats],
    weights: Floats,
    constant: Floats,
    low: Floats,
    high: Floats,
) -> Region:
    """The region with normals of length one, without faces of constant neurons, with the finite sides of the box."""
    pattern = np.concatenate([*patterns, np.zeros(0, bool)])
    rows = np.concatenate([*normals, np.zeros((0, len(low)))])
    ends = np.concatenate([*offsets, np.zeros(0)])
    length = np.linalg.norm(rows, axis=1)
    known = np.flatnonzero(length > 1e-12)
    sides = np.vstack([-np.eye(len(low)), np.eye(len(low))])
    limits = np.concatenate([-low, high])
    bounded = np.isfinite(limits)
    return Region(
        np.packbits(pattern).tobytes(),
        np.vstack([rows[known] / length[known, None], sides[bounded]]),
        np.concatenate([ends[known] / length[known], limits[bounded]]),
        np.concatenate([known, np.full(int(bounded.sum()), -1)]),
        weights,
        constant,
    )


@final
@dataclass(frozen=True, eq=False)
class _Face:
    """A face of a region that was yielded."""

    region: Region
    index: int


def walk(
    graph: Graph, x0: Inputs, perturbation: PerturbationSet, checkpoint: Callable[[], None] = lambda: None
) -> Iterator[tuple[float, Region]]:
    """(a lower bound on the distance from x0, the region), for all linear regions in the box, the nearest first.

    The bounds do not decrease, and no region still to come is nearer than the last. x0: one example. The radius of the
    perturbation set plays no part.
    """
    low, high = (limit.double().flatten().expand(x0[0].numel()).numpy() for limit in perturbation.box.limits(x0))
    at = x0.flatten().double().numpy()

    # The first region: just behind x0, toward the middle of the box and a little aside.
    bounded = np.isfinite(low) & np.isfinite(high)
    inward = np.zeros(len(low))
    inward[bounded] = (low[bounded] + high[bounded]) / 2 - at[bounded]
    sideways = np.random.default_rng(0).normal(size=len(low))  # any direction will do
    toward = torch.from_numpy(inward + 1e-3 * sideways).reshape(x0.shape)
    first = region(graph, x0, toward, low, high)

    seen = {first.pattern}
    order = count()
    queue: list[tuple[float, int, _Face | Region]] = [(0.0, next(order), first)]
    while queue:
        checkpoint()
        distance, _, item = heapq.heappop(queue)
        if isinstance(item, Region):
            yield distance, item
            for index in np.flatnonzero(item.neurons >= 0):
                gap = item.offsets[index] - item.normals[index] @ at
                plane = perturbation.to_plane(torch.from_numpy(item.normals[index]), float(gap)) * (1 - 1e-12)
                heapq.heappush(queue, (max(distance, plane), next(order), _Face(item, int(index))))
        elif _flipped(item) not in seen:
            behind = _behind(graph, item, x0, low, high)
            if behind is not None and behind.pattern not in seen:
                seen.add(behind.pattern)
                _, bound = perturbation.nearest_in(x0, behind.normals, behind.offsets)
                heapq.heappush(queue, (max(distance, bound), next(order), behind))


def linear_regions(graph: Graph, box: Box, most: int = 100_000) -> list[Region]:
    """All linear regions that meet the interior of a bounded box; at most so many, those nearest to its centre."""
    low, high = box.limits(torch.zeros(1, *graph.nodes[0].shape, dtype=torch.float64))
    middle = ((low + high) / 2).expand(1, *graph.nodes[0].shape)
    found = []
    for _, one in walk(graph, middle, L2(math.inf, box)):
        found.append(one)
        if len(found) == most:
            break
    return found


def _flipped(face: _Face) -> bytes:
    """The pattern behind a face, if no other neuron is zero on it."""
    bits = np.frombuffer(face.region.pattern, np.uint8).copy()
    place = int(face.region.neurons[face.index])
    bits[place // 8] ^= np.uint8(128 >> (place % 8))
    return bits.tobytes()


def _behind(graph: Graph, face: _Face, x0: Inputs, low: Floats, high: Floats) -> Region | None:
    """The region behind a face; None where the face is empty or narrower than THIN."""
    normal = face.region.normals[face.index]
    offset = face.region.offsets[face.index]
    along = face.region.normals @ normal
    normals = np.vstack([face.region.normals, -normal])
    offsets = np.append(face.region.offsets, -offset)
    if nearest_l2(x0.flatten().double().numpy(), normals, offsets)[1] > FAR:
        return None

    others = np.abs(along) < 1 - 1e-12  # the rest are parallel: they hold on the whole hyperplane, or nowhere
    if (np.sign(along[~others]) * offset > face.region.offsets[~others] + THIN).any():
        return None
    point, radius = centre(face.region.normals[others], face.region.offsets[others], (normal, float(offset)))
    if point is None or radius < THIN:
        return None
    shape: Callable[[Floats], Tensor] = lambda v: torch.from_numpy(v).reshape(1, *x0.shape[1:])  # noqa: E731
    return region(graph, shape(point), shape(normal), low, high)
