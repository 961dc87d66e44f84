"""Trees exactly: the nearest adversarial input of a tree or an ensemble, which is a witness and a certificate at once.

An input lies in one leaf of each tree, and leaves are boxes. Boxes share a point exactly if every two of them do, so
which leaves can be taken together is a question about pairs (Chen et al. 2019, arXiv:1906.03849, section 3; the
problem is that of Kantchelian et al. 2016, arXiv:1509.07892). The search takes regions in the order of their distance
from x0, so the first whose nearest point serves the adversary is the nearest there is, and what was left aside until
then is proved. Thresholds are compared exactly and nothing is solved numerically: the only rounding is that of sums.
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
"""A certificate stops this share short of the exact distance: a float64 sum of squares is no surer than that."""

SLACK = 2.0**-30
"""Sums of scores that differ by less than this share of their size may tie: a certificate takes it that they do."""

PAUSE = 64
"""Regions between two checkpoints."""

Chosen = Int64[np.ndarray, " leaves"]


@final
@dataclass(frozen=True)
class ExactTrees(Exact[Forest]):
    """The exact smallest perturbation of trees (Chen et al. 2019; Kantchelian et al. 2016), by best-first search.

    nodes: regions that may be looked at for an example. Where they do not suffice, the certificate reaches as far as
    the search came, and there is no witness. What is beyond the radius of the set is not searched.
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
        x, distance, certified, margin = x0.clone(), [], [], []
        asked = torch.zeros(len(x0), dtype=torch.int64)
        for row in range(len(x0)):
            one, label = x0[row : row + 1], y[row : row + 1]
            aim = None if aims is None else aims[row : row + 1]

            def serves(point: Inputs, row: int = row, label: Labels = label, aim: Labels | None = aim) -> bool:
                asked[row] += 1
                return bool(met((ask or model.scores)(point).to(point.device), label, aim))

            near = _Near(model, low, high, one, perturbation)
            ways = _ways(near, int(label), None if aim is None else int(aim))
            point, reached, least = self._search(near, ways, serves, checkpoint)
            if point is not None:
                x[row] = point[0]
            distance.append(math.inf if point is None else float(perturbation.distance(one, point)))
            certified.append(min(reached * BELOW, perturbation.radius) if reached > 0 else -math.inf)
            margin.append(least if reached > 0 else -math.inf)
        known = torch.tensor([distance, certified, margin], dtype=torch.float64).to(x.device)
        return Nearest(x, known[0], known[1], known[2], asked.to(x.device), (Soundness.FLOAT64,) * len(x))

    def _search(
        self, near: "_Near", ways: list["_Way"], serves: Callable[[Inputs], bool], checkpoint: Checkpoint
    ) -> tuple[Inputs | None, float, float]:
        """(the nearest point that serves, how far nothing does, the least margin there).

        The nearest region is taken. If its nearest point serves, that is the answer; if not, the region is divided
        between the leaves of one tree, and what cannot serve is left aside.
        """
        order, least, reached = count(), math.inf, math.inf
        queue: list[tuple[float, int, _Region]] = []
        fresh = [near.whole(way) for way in ways]
        for looked in range(self.nodes + 1):
            if looked % PAUSE == 0:
                checkpoint()
            for region in fresh:
                if region.promise < -region.way.slack:
                    least = min(least, -region.promise)
                else:
                    heapq.heappush(queue, (region.distance, next(order), region))
            if not queue:
                return None, reached, least
            distance, _, region = queue[0]
            if looked == self.nodes:
                break
            heapq.heappop(queue)
            alive, low, high = near.entered(region)
            x = near.nearest(low, high)
            held = near.held(x, alive)
            if region.way.lead(held) >= -region.way.slack:
                reached = min(reached, distance)
                if bool(near.set.contains(near.x0, x)) and serves(x):
                    return x, reached, least
            fresh = near.divided(region, alive, low, high, held)
        return None, min(reached, distance), least


@final
@dataclass(frozen=True, eq=False)
class _Way:
    """One way to serve the adversary: each of these sums over the leaves that hold an input is at least zero.

    gaps: what a leaf adds, (sums, leaves). constant: what each sum begins with. slack: what rounding may do to it.
    """

    gaps: Float64[np.ndarray, "sums leaves"]
    constant: Float64[np.ndarray, " sums"]
    slack: float

    def lead(self, held: Chosen) -> float:
        """The least of the sums over these leaves."""
        return float((self.gaps[:, held].sum(1) + self.constant).min())

    def best(self, alive: Bool[np.ndarray, "*regions leaves"], first: Chosen) -> Floats:
        """The most that the living leaves of each tree can add: (sums, *regions, trees)."""
        gaps = self.gaps.reshape(len(self.gaps), *(1,) * (alive.ndim - 1), -1)
        best: Floats = np.maximum.reduceat(np.where(alive, gaps, -np.inf), first, axis=-1)
        return best

    def promise(self, alive: Bool[np.ndarray, "regions leaves"], first: Chosen) -> Float64[np.ndarray, " regions"]:
        """No point of a region leads by more than this."""
        promise: Floats = (self.best(alive, first).sum(-1) + self.constant[:, None]).min(0)
        return promise


@final
@dataclass(frozen=True, eq=False)
class _Region:
    """Part of a larger region: that which lies in `leaf`; the whole where it is None.

    alive, low, high: leaves that meet the larger region, and its ends. distance, promise: of this part.
    """

    way: _Way
    distance: float
    promise: float
    alive: Bool[np.ndarray, " leaves"]
    low: Floats
    high: Floats
    leaf: int | None = None


@final
class _Near:
    """The leaves within the radius around one example, those of a tree side by side; `first` of each tree."""

    def __init__(self, forest: Forest, low: Floats, high: Floats, x0: Inputs, perturbation: PerturbationSet) -> None:
        self.x0, self.set = x0, perturbation
        self.lowest, self.highest = (side.detach().cpu().double().flatten().numpy() for side in perturbation.hull(x0))
        self.low, self.high = np.maximum(low, self.lowest), np.minimum(high, self.highest)
        tree = np.repeat(np.arange(len(forest.trees)), [len(tree.scores) for tree in forest.trees])
        near = (self.low <= self.high).all(1)
        near[near] = self._reached(self.distances(self.low[near], self.high[near]))
        self.low, self.high, tree = self.low[near], self.high[near], tree[near]
        self.scores, self.constant = np.concatenate([t.scores for t in forest.trees])[near], forest.constant
        self.first = np.searchsorted(tree, np.arange(len(forest.trees)))
        self.ends = np.append(self.first[1:], len(tree))
        asked = ((self.low > self.lowest) | (self.high < self.highest)).any(0)
        self._ends = np.ascontiguousarray(self.low[:, asked]), np.ascontiguousarray(self.high[:, asked])
        self._meeting: dict[int, Bool[np.ndarray, " leaves"]] = {}

    def whole(self, way: _Way) -> _Region:
        """All that is near."""
        alive = np.ones(len(self.low), dtype=bool)
        return _Region(way, 0.0, float(way.promise(alive[None], self.first)[0]), alive, self.lowest, self.highest)

    def entered(self, region: _Region) -> tuple[Bool[np.ndarray, " leaves"], Floats, Floats]:
        """(the leaves that meet the region, its lowest, its highest point)."""
        if region.leaf is None:
            return region.alive, region.low, region.high
        return (
            region.alive & self.meeting(region.leaf),
            np.maximum(region.low, self.low[region.leaf]),
            np.minimum(region.high, self.high[region.leaf]),
        )

    def meeting(self, leaf: int) -> Bool[np.ndarray, " leaves"]:
        """The leaves that share a point with this one; of its own tree, itself alone."""
        if leaf not in self._meeting:
            low, high = self._ends
            self._meeting[leaf] = ((low <= high[leaf]) & (low[leaf] <= high)).all(1)
        return self._meeting[leaf]

    def held(self, x: Inputs, alive: Bool[np.ndarray, " leaves"]) -> Chosen:
        """The leaf of each tree that holds a point."""
        at = x.detach().cpu().double().flatten().numpy()
        living = np.flatnonzero(alive)
        held: Chosen = living[((self.low[living] <= at) & (at <= self.high[living])).all(1)]
        return held

    def divided(
        self, region: _Region, alive: Bool[np.ndarray, " leaves"], low: Floats, high: Floats, held: Chosen
    ) -> list[_Region]:
        """The parts of a region in each leaf of one tree: the one in which most is at stake."""
        way = region.way
        several = np.add.reduceat(alive.astype(int), self.first) > 1
        if not several.any():
            return []
        stake = (way.best(alive, self.first) - way.gaps[:, held]).sum(0)
        tree = int(np.where(several, stake, -np.inf).argmax())
        leaves = np.arange(self.first[tree], self.ends[tree])
        leaves = leaves[alive[leaves]]
        distances = self.distances(np.maximum(low, self.low[leaves]), np.minimum(high, self.high[leaves]))
        near = self._reached(distances)
        leaves, distances = leaves[near], distances[near]
        if not len(leaves):
            return []
        promises = way.promise(alive & np.stack([self.meeting(int(leaf)) for leaf in leaves]), self.first)
        return [
            _Region(way, float(distance), float(promise), alive, low, high, int(leaf))
            for leaf, distance, promise in zip(leaves, distances, promises, strict=True)
        ]

    def nearest(self, low: Floats, high: Floats) -> Inputs:
        """The points of boxes that are nearest to x0; one box, or one a row."""
        ends = (torch.from_numpy(side).to(self.x0).reshape(-1, *self.x0.shape[1:]) for side in (low, high))
        return self.set.closest(self.x0, *ends)

    def distances(self, low: Floats, high: Floats) -> Floats:
        """How far they are; inf where a box holds no valid input."""
        x = self.nearest(low, high)
        distance = self.set.distance(self.x0.expand_as(x), x).where(~x.flatten(1).isnan().any(1), torch.inf)
        far: Floats = distance.cpu().numpy()
        return far

    def _reached(self, distances: Floats) -> Bool[np.ndarray, " boxes"]:
        return np.isfinite(distances) & (distances * BELOW <= self.set.radius)


def _ways(near: _Near, y: int, aim: int | None) -> list[_Way]:
    return [_way(near, leads) for leads in alternatives(near.scores.shape[1], y, aim)]


def _way(near: _Near, leads: list[tuple[int, int]]) -> _Way:
    up, down = (list(side) for side in zip(*leads, strict=True))
    gaps, constant = (near.scores[:, up] - near.scores[:, down]).T, near.constant[up] - near.constant[down]
    size = np.abs(constant) + np.maximum.reduceat(np.abs(gaps), near.first, axis=1).sum(1)
    return _Way(np.ascontiguousarray(gaps), constant, SLACK * float(size.max()))
