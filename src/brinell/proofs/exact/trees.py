"""The nearest adversarial input of a tree ensemble, exactly: a witness and a certificate at once.

An input lies in one leaf of each tree, and leaves are boxes. Boxes share a point exactly if every two of them do, so
which leaves can be taken together is a question about pairs (Chen et al. 2019, arXiv:1906.03849, section 3; the problem
is that of Kantchelian et al. 2016, arXiv:1509.07892). Best-first search takes regions in the order of their distance
from x0: the first whose nearest point is adversarial has the nearest adversarial input, and all regions discarded
before are certified. Thresholds are compared exactly and nothing is solved numerically: only sums are rounded.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs.exact.exact import Exact, Nearest, alternatives
from brinell.proofs.exact.forest import Floats, Forest, first_right, last_left
from brinell.proofs.query.verifier import Checkpoint, nothing
from brinell.threat import PerturbationSet
from brinell.threat.goal import met
from brinell.types import Inputs, Labels, Logits

BELOW = 1 - 2.0**-40
"""Factor of a certified radius, for the rounding of a float64 sum of squares."""

SLACK = 2.0**-30
"""Sums of scores that differ by less than this share of their size count as ties in a certificate."""

PAUSE = 64
"""Regions between two checkpoints."""

Chosen = Int64[np.ndarray, " leaves"]


@final
@dataclass(frozen=True)
class ExactTrees(Exact[Forest]):
    """The exact smallest perturbation of trees (Chen et al. 2019; Kantchelian et al. 2016), by best-first search.

    nodes: regions visited for an example, at most, >= 1. Where they do not suffice, the certificate reaches as far as
    the search, and there is no witness. Nothing is searched beyond the radius of the perturbation set.
    """

    reads: ClassVar[type] = Forest
    sets: ClassVar[tuple[str, ...]] = ("linf", "l1", "l2", "l0", "features")
    nodes: int = 10_000

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise UsageError(f"nodes is {self.nodes}; it must be at least 1")

    def __call__(
        self,
        model: Forest,
        x0: Inputs,
        y: Labels,
        perturbation: PerturbationSet,
        aims: Labels | None = None,
        ask: Callable[[Inputs], Logits] | None = None,
        checkpoint: Checkpoint = nothing,
    ) -> Nearest:
        self.check(perturbation)
        if x0[0].numel() != model.features:
            raise UsageError(f"an example has {x0[0].numel()} features; the trees were fitted on {model.features}")
        low = np.concatenate([first_right(tree.above, x0.dtype) for tree in model.trees])
        high = np.concatenate([last_left(tree.upto, x0.dtype) for tree in model.trees])

        x = x0.clone()
        distance = []
        certified = []
        margin = []
        asked = torch.zeros(len(x0), dtype=torch.int64)
        for row in range(len(x0)):
            one = x0[row : row + 1]
            label = y[row : row + 1]
            aim = None if aims is None else aims[row : row + 1]

            def is_adversarial(point: Inputs, row: int = row, label: Labels = label, aim: Labels | None = aim) -> bool:
                asked[row] += 1
                return bool(met((ask or model.scores)(point).to(point.device), label, aim))

            neighbourhood = _Neighbourhood(model, low, high, one, perturbation)
            ways = _ways(neighbourhood, int(label), None if aim is None else int(aim))
            point, reached, least = self._search(neighbourhood, ways, is_adversarial, checkpoint)
            if point is not None:
                x[row] = point[0]
            distance.append(math.inf if point is None else float(perturbation.distance(one, point)))
            certified.append(min(reached * BELOW, perturbation.radius) if reached > 0 else -math.inf)
            margin.append(least if reached > 0 else -math.inf)
        known = torch.tensor([distance, certified, margin], dtype=torch.float64).to(x.device)
        return Nearest(x, known[0], known[1], known[2], asked.to(x.device), (Soundness.FLOAT64,) * len(x))

    def _search(
        self,
        neighbourhood: "_Neighbourhood",
        ways: list["_Way"],
        is_adversarial: Callable[[Inputs], bool],
        checkpoint: Checkpoint,
    ) -> tuple[Inputs | None, float, float]:
        """(the nearest adversarial point, the radius within which there is none, the least margin there).

        The nearest region is visited. If its nearest point is adversarial, that is the answer; if not, the region is
        divided between the leaves of one tree, and parts that cannot be adversarial are discarded.
        """
        order = count()
        least = math.inf
        reached = math.inf
        queue: list[tuple[float, int, _Region]] = []
        fresh = [neighbourhood.whole(way) for way in ways]
        for visited in range(self.nodes + 1):
            if visited % PAUSE == 0:
                checkpoint()
            for region in fresh:
                if region.promise < -region.way.slack:
                    least = min(least, -region.promise)
                else:
                    heapq.heappush(queue, (region.distance, next(order), region))
            if not queue:
                return None, reached, least

            distance, _, region = queue[0]
            if visited == self.nodes:
                break
            heapq.heappop(queue)
            alive, low, high = neighbourhood.entered(region)
            x = neighbourhood.nearest(low, high)
            held = neighbourhood.held(x, alive)
            if region.way.lead(held) >= -region.way.slack:
                reached = min(reached, distance)
                if bool(neighbourhood.perturbation.contains(neighbourhood.x0, x)) and is_adversarial(x):
                    return x, reached, least
            fresh = neighbourhood.divided(region, alive, low, high, held)
        return None, min(reached, distance), least


@final
@dataclass(frozen=True, eq=False)
class _Way:
    """One way to be adversarial: all of these sums, over the leaves that hold an input, are >= 0.

    gaps: what each leaf adds, (sums, leaves). constant: added to each sum. slack: a bound on the rounding of the sums.
    """

    gaps: Float64[np.ndarray, "sums leaves"]
    constant: Float64[np.ndarray, " sums"]
    slack: float

    def lead(self, held: Chosen) -> float:
        """The least of the sums over these leaves."""
        return float((self.gaps[:, held].sum(1) + self.constant).min())

    def best(self, alive: Bool[np.ndarray, "*regions leaves"], first: Chosen) -> Floats:
        """The most that the leaves alive of each tree can add: (sums, *regions, trees)."""
        gaps = self.gaps.reshape(len(self.gaps), *(1,) * (alive.ndim - 1), -1)
        best: Floats = np.maximum.reduceat(np.where(alive, gaps, -np.inf), first, axis=-1)
        return best

    def promise(self, alive: Bool[np.ndarray, "regions leaves"], first: Chosen) -> Float64[np.ndarray, " regions"]:
        """An upper bound on the least of the sums in each region."""
        promise: Floats = (self.best(alive, first).sum(-1) + self.constant[:, None]).min(0)
        return promise


@final
@dataclass(frozen=True, eq=False)
class _Region:
    """The part of a larger region that lies in `leaf`; all of it where leaf is None.

    alive, low, high: the leaves that intersect the larger region, and its box. distance, promise: of the part.
    """

    way: _Way
    distance: float
    promise: float
    alive: Bool[np.ndarray, " leaves"]
    low: Floats
    high: Floats
    leaf: int | None = None


@final
class _Neighbourhood:
    """The leaves within the radius around one example, in the order of their trees; `first`: the first of each tree."""

    def __init__(self, forest: Forest, low: Floats, high: Floats, x0: Inputs, perturbation: PerturbationSet) -> None:
        self.x0 = x0
        self.perturbation = perturbation
        self.lowest, self.highest = (side.detach().cpu().double().flatten().numpy() for side in perturbation.hull(x0))
        self.low = np.maximum(low, self.lowest)
        self.high = np.minimum(high, self.highest)

        tree = np.repeat(np.arange(len(forest.trees)), [len(tree.scores) for tree in forest.trees])
        near = (self.low <= self.high).all(1)
        near[near] = self._within_radius(self.distances(self.low[near], self.high[near]))
        self.low = self.low[near]
        self.high = self.high[near]
        self.scores = np.concatenate([t.scores for t in forest.trees])[near]
        self.constant = forest.constant
        tree = tree[near]
        self.first = np.searchsorted(tree, np.arange(len(forest.trees)))
        self.ends = np.append(self.first[1:], len(tree))

        # Features that some leaf compares; the others decide nothing about overlaps.
        compared = ((self.low > self.lowest) | (self.high < self.highest)).any(0)
        self._compared_low = np.ascontiguousarray(self.low[:, compared])
        self._compared_high = np.ascontiguousarray(self.high[:, compared])
        self._overlaps: dict[int, Bool[np.ndarray, " leaves"]] = {}

    def whole(self, way: _Way) -> _Region:
        """The whole neighbourhood."""
        alive = np.ones(len(self.low), dtype=bool)
        return _Region(way, 0.0, float(way.promise(alive[None], self.first)[0]), alive, self.lowest, self.highest)

    def entered(self, region: _Region) -> tuple[Bool[np.ndarray, " leaves"], Floats, Floats]:
        """(the leaves that intersect the region, its lowest point, its highest point)."""
        if region.leaf is None:
            return region.alive, region.low, region.high
        return (
            region.alive & self.overlaps(region.leaf),
            np.maximum(region.low, self.low[region.leaf]),
            np.minimum(region.high, self.high[region.leaf]),
        )

    def overlaps(self, leaf: int) -> Bool[np.ndarray, " leaves"]:
        """The leaves that share a point with this one; of its own tree, itself alone."""
        if leaf not in self._overlaps:
            low = self._compared_low
            high = self._compared_high
            self._overlaps[leaf] = ((low <= high[leaf]) & (low[leaf] <= high)).all(1)
        return self._overlaps[leaf]

    def held(self, x: Inputs, alive: Bool[np.ndarray, " leaves"]) -> Chosen:
        """The leaf of each tree that contains a point."""
        at = x.detach().cpu().double().flatten().numpy()
        living = np.flatnonzero(alive)
        held: Chosen = living[((self.low[living] <= at) & (at <= self.high[living])).all(1)]
        return held

    def divided(
        self, region: _Region, alive: Bool[np.ndarray, " leaves"], low: Floats, high: Floats, held: Chosen
    ) -> list[_Region]:
        """The parts of a region in the leaves of one tree: the tree whose choice of leaf matters most."""
        way = region.way
        several = np.add.reduceat(alive.astype(int), self.first) > 1
        if not several.any():
            return []
        stake = (way.best(alive, self.first) - way.gaps[:, held]).sum(0)
        tree = int(np.where(several, stake, -np.inf).argmax())
        leaves = np.arange(self.first[tree], self.ends[tree])
        leaves = leaves[alive[leaves]]

        distances = self.distances(np.maximum(low, self.low[leaves]), np.minimum(high, self.high[leaves]))
        near = self._within_radius(distances)
        leaves = leaves[near]
        distances = distances[near]
        if not len(leaves):
            return []
        promises = way.promise(alive & np.stack([self.overlaps(int(leaf)) for leaf in leaves]), self.first)
        return [
            _Region(way, float(distance), float(promise), alive, low, high, int(leaf))
            for leaf, distance, promise in zip(leaves, distances, promises, strict=True)
        ]

    def nearest(self, low: Floats, high: Floats) -> Inputs:
        """The points of boxes that are nearest to x0; one box, or one a row."""
        ends = (torch.from_numpy(side).to(self.x0).reshape(-1, *self.x0.shape[1:]) for side in (low, high))
        return self.perturbation.closest(self.x0, *ends)

    def distances(self, low: Floats, high: Floats) -> Floats:
        """The distances of boxes from x0; inf where a box has no valid input."""
        x = self.nearest(low, high)
        distance = self.perturbation.distance(self.x0.expand_as(x), x).where(~x.flatten(1).isnan().any(1), torch.inf)
        far: Floats = distance.cpu().numpy()
        return far

    def _within_radius(self, distances: Floats) -> Bool[np.ndarray, " boxes"]:
        return np.isfinite(distances) & (distances * BELOW <= self.perturbation.radius)


def _ways(neighbourhood: _Neighbourhood, y: int, aim: int | None) -> list[_Way]:
    return [_way(neighbourhood, leads) for leads in alternatives(neighbourhood.scores.shape[1], y, aim)]


def _way(neighbourhood: _Neighbourhood, leads: list[tuple[int, int]]) -> _Way:
    up = [ahead for ahead, _ in leads]
    down = [behind for _, behind in leads]
    gaps = (neighbourhood.scores[:, up] - neighbourhood.scores[:, down]).T  # [sums, leaves]
    constant = neighbourhood.constant[up] - neighbourhood.constant[down]
    size = np.abs(constant) + np.maximum.reduceat(np.abs(gaps), neighbourhood.first, axis=1).sum(1)
    return _Way(np.ascontiguousarray(gaps), constant, SLACK * float(size.max()))
