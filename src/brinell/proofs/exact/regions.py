"""The regions of a network of ReLUs: polytopes on which the same neurons are on, so that the network is affine.

They are walked from one to the next through the faces they share, the nearest first (GeoCert, Jordan et al. 2019,
arXiv:1903.08778, algorithm 1; Fromherz et al. 2021, arXiv:2002.04742, bound distances by projections onto planes
first; DISCO, Girard-Satabin et al. 2021, arXiv:2105.07776, lists them all). What lies behind a face is found by the
signs of the neurons just behind it: a neuron whose plane holds the face is on where its slope across the face says so.
So planes that coincide, or a neuron that is constant, need no care of their own.

Numbers are float64, and tolerances two: a neuron within TIE of zero is taken to be zero, and a face narrower than
THIN is not crossed.
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
"""Of the size of what a neuron sums."""

THIN = 1e-9
"""In the units of the input."""

FAR = 1e8
"""Nothing is as far: what has no point is bounded by more."""


@final
@dataclass(frozen=True, eq=False)
class Region:
    """{x : normals x <= offsets}, a face a row, normals of length one; the scores are weights x + constant there.

    on: which neurons are, packed. neurons: the place of each face's neuron in `on`, -1 for a side of the box.
    """

    on: bytes
    normals: Float64[np.ndarray, "faces inputs"]
    offsets: Float64[np.ndarray, " faces"]
    neurons: np.ndarray
    weights: Float64[np.ndarray, "classes inputs"]
    constant: Float64[np.ndarray, " classes"]

    def least(self, row: Floats) -> float:
        """The least value of <row, scores> in the region, which must be bounded that way."""
        bounds = [(None, None)] * self.normals.shape[1]
        solved = linprog(row @ self.weights, self.normals, self.offsets, bounds=bounds, method="highs")
        return float(solved.fun + row @ self.constant) if solved.status == 0 else -np.inf

    def within(self, leads: Floats, slack: Floats | float = 0.0) -> tuple[Floats, Floats]:
        """(normals, offsets) of the part where each of these rows of scores, (rows, classes), is at least -slack."""
        slopes, constants = leads @ self.weights, leads @ self.constant + slack
        length = np.linalg.norm(slopes, axis=1)
        length = np.where(length > 0, length, 1.0)
        normals = np.vstack([self.normals, -slopes / length[:, None]])
        return normals, np.append(self.offsets, constants / length)


def region(graph: Graph, point: Inputs, toward: Inputs, low: Floats, high: Floats) -> Region:
    """The region just behind `point`, (1, *shape), in the direction `toward`, with the sides of a box as faces.

    Raises Unsupported where the network has a nonlinearity that is no ReLU.
    """
    inputs = point[0].numel()
    x = point.double()
    basis = torch.eye(inputs, dtype=torch.float64).reshape(1, inputs, *point.shape[1:])
    values, slopes, sizes = [x], [basis], [x.abs()]
    on, normals, offsets = [], [], []
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
        value, slope = values[j].flatten(), slopes[j].flatten(2)[0].T
        ahead = slope @ toward.double().flatten()
        zero = value.abs() <= TIE * (1 + sizes[j].flatten())
        active = torch.where(zero, ahead > 0, value > 0)
        sign = torch.where(active, -1.0, 1.0).double()
        normals.append((sign.unsqueeze(1) * slope).numpy())
        offsets.append((sign * ((slope @ x.flatten()) - value.where(~zero, 0.0))).numpy())
        on.append(active.numpy())
        mask = active.reshape(values[j].shape)
        values.append(values[j] * mask)
        slopes.append(slopes[j] * mask.unsqueeze(1))
        sizes.append(sizes[j])
    weights = slopes[-1].flatten(2)[0].T.numpy()
    return _region(on, normals, offsets, weights, values[-1].flatten().numpy() - weights @ flat, low, high)


def _region(
    on: list[np.ndarray],
    normals: list[Floats],
    offsets: list[Floats],
    weights: Floats,
    constant: Floats,
    low: Floats,
    high: Floats,
) -> Region:
    """Faces of length one, without those of constant neurons, and with the sides of the box."""
    pattern = np.concatenate([*on, np.zeros(0, bool)])
    rows = np.concatenate([*normals, np.zeros((0, len(low)))])
    ends = np.concatenate([*offsets, np.zeros(0)])
    length = np.linalg.norm(rows, axis=1)
    known = np.flatnonzero(length > 1e-12)
    sides, limits = np.vstack([-np.eye(len(low)), np.eye(len(low))]), np.concatenate([-low, high])
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
    """A face of a region that was given."""

    region: Region
    index: int


def walk(
    graph: Graph, x0: Inputs, perturbation: PerturbationSet, checkpoint: Callable[[], None] = lambda: None
) -> Iterator[tuple[float, Region]]:
    """(a lower bound on its distance from x0, a region), for all that meet the box of the set, the nearest first.

    Bounds never fall, and no region that is not yet given is nearer than the last. x0: one example. The radius of the
    set plays no part.
    """
    low, high = (limit.double().flatten().expand(x0[0].numel()).numpy() for limit in perturbation.box.limits(x0))
    at = x0.flatten().double().numpy()
    bounded, inward = np.isfinite(low) & np.isfinite(high), np.zeros(len(low))
    inward[bounded] = (low[bounded] + high[bounded]) / 2 - at[bounded]
    sideways = np.random.default_rng(0).normal(size=len(low))  # any direction will do
    toward = torch.from_numpy(inward + 1e-3 * sideways).reshape(x0.shape)
    first = region(graph, x0, toward, low, high)
    seen, order = {first.on}, count()
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
            if behind is not None and behind.on not in seen:
                seen.add(behind.on)
                _, bound = perturbation.nearest_in(x0, behind.normals, behind.offsets)
                heapq.heappush(queue, (max(distance, bound), next(order), behind))


def linear_regions(graph: Graph, box: Box, most: int = 100_000) -> list[Region]:
    """All regions that meet the inside of a box, both ends of which are known; at most so many, those in the middle."""
    low, high = box.limits(torch.zeros(1, *graph.nodes[0].shape, dtype=torch.float64))
    middle = ((low + high) / 2).expand(1, *graph.nodes[0].shape)
    found = []
    for _, one in walk(graph, middle, L2(math.inf, box)):
        found.append(one)
        if len(found) == most:
            break
    return found


def _flipped(face: _Face) -> bytes:
    """The pattern behind it, if no other plane holds it too."""
    bits = np.frombuffer(face.region.on, np.uint8).copy()
    place = int(face.region.neurons[face.index])
    bits[place // 8] ^= np.uint8(128 >> (place % 8))
    return bits.tobytes()


def _behind(graph: Graph, face: _Face, x0: Inputs, low: Floats, high: Floats) -> Region | None:
    """The region on the other side; None where the face is thin, or none."""
    normal, offset = face.region.normals[face.index], face.region.offsets[face.index]
    along = face.region.normals @ normal
    on_face = np.vstack([face.region.normals, -normal]), np.append(face.region.offsets, -offset)
    if nearest_l2(x0.flatten().double().numpy(), *on_face)[1] > FAR:
        return None
    others = np.abs(along) < 1 - 1e-12  # of the rest, all on this plane either hold or do not
    if (np.sign(along[~others]) * offset > face.region.offsets[~others] + THIN).any():
        return None
    point, radius = centre(face.region.normals[others], face.region.offsets[others], (normal, float(offset)))
    if point is None or radius < THIN:
        return None
    shape: Callable[[Floats], Tensor] = lambda v: torch.from_numpy(v).reshape(1, *x0.shape[1:])  # noqa: E731
    return region(graph, shape(point), shape(normal), low, high)
