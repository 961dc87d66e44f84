"""Trees exactly: the nearest adversarial input of a tree or an ensemble, which is a witness and a certificate at once.

One tree: the nearest point of every leaf that serves the adversary. An ensemble: the mixed integer program of
Kantchelian et al. 2016 (arXiv:1509.07892, section 3), solved by HiGHS. Which interval between two thresholds a feature
lies in decides what moving it costs, so every distance that is a sum or a maximum over features is linear in the
predicates: linf, l1 and l2 (squared) are all exact.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float64
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array
from torch import Tensor

from brinell.errors import UsageError
from brinell.threat import PerturbationSet
from brinell.threat.goal import met
from brinell.types import Inputs, Labels
from brinell.verify.forest import Floats, Forest, cells, first_right, last_left
from brinell.verify.verifier import Checkpoint, nothing

POWERS = {"linf": math.inf, "l1": 1.0, "l2": 2.0}
"""The sets answered for: a distance is the sum of this power of what each feature moves, or its maximum."""

BELOW = 1 - 2.0**-40
"""A certificate stops this share short of the exact distance: a float64 sum of squares is no surer than that."""

SLACK = 1e-6
"""How far HiGHS may be from what it says, as a share of the largest number in play; certificates give that much up."""


@final
@dataclass(frozen=True, eq=False)
class Nearest:
    """What was shown of each example. x: the nearest input known to serve the adversary, x0 where there is none.

    distance: its distance, float64; inf where there is none. certified: no input this near serves the adversary.
    """

    x: Inputs
    distance: Float64[Tensor, " batch"]
    certified: Float64[Tensor, " batch"]


@final
@dataclass(frozen=True)
class ExactTrees:
    """The exact smallest perturbation of trees (Kantchelian et al. 2016), under linf, l1 and l2.

    nodes: of the branch and bound that HiGHS may visit for each rival class; where they do not suffice, the distance
    and the certificate stay apart. What is beyond the radius of the set is not searched.
    """

    nodes: int = 100_000

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise UsageError(f"nodes is {self.nodes}; it must be at least 1")

    def __call__(
        self,
        forest: Forest,
        x0: Inputs,
        y: Labels,
        set: PerturbationSet,
        aims: Labels | None = None,
        checkpoint: Checkpoint = nothing,
    ) -> Nearest:
        """The nearest adversarial input of each example, within the radius of the set and its box.

        aims: the class to be reached, or None where any but the label y will do. A tie serves the adversary.
        Raises UsageError where the set is not one of linf, l1 and l2, or x0 does not fit the forest.
        """
        if set.name not in POWERS:
            raise UsageError(f"ExactTrees does not answer for the set {set.name!r}; it knows {', '.join(POWERS)}")
        if x0[0].numel() != forest.features:
            raise UsageError(f"an example has {x0[0].numel()} features; the trees were fitted on {forest.features}")
        x, distance, certified = x0.clone(), [], []
        for row in range(len(x0)):
            checkpoint()
            aim = None if aims is None else int(aims[row])
            one = x0[row : row + 1]
            search = _in_leaves if len(forest.trees) == 1 else self._in_program
            point, known, sure = search(forest, one, int(y[row]), aim, set)
            if point is not None:
                x[row] = point.reshape(x0.shape[1:])
            distance.append(known)
            certified.append(min(sure, set.radius))
        return Nearest(
            x,
            torch.tensor(distance, dtype=torch.float64, device=x0.device),
            torch.tensor(certified, dtype=torch.float64, device=x0.device),
        )

    def _in_program(
        self, forest: Forest, x0: Inputs, y: int, aim: int | None, set: PerturbationSet
    ) -> tuple[Inputs | None, float, float]:
        """The least over the rivals of y (or the aim alone): each a program of its own, cut off by those before it."""
        best, nearest, sure = None, math.inf, math.inf
        for _ in range(2):  # again within what was found, where SLACK is a share of that and not of the whole box
            sure = math.inf
            for leads in _alternatives(forest.classes, y, aim):
                program = _Program.of(forest, x0, set.resized(min(set.radius, nearest)), leads)
                points, bound = program.solve(self.nodes)
                sure = min(sure, bound)
                for point in points:
                    distance = float(set.distance(x0, point))
                    if distance < nearest and _serves(forest, point, y, aim):
                        best, nearest = point, distance
            if math.isinf(nearest) or sure >= nearest * (1 - 10 * SLACK):
                break
        if nearest > set.radius:
            best, nearest = None, math.inf
        return best, nearest, min(sure, nearest * BELOW)


def _in_leaves(
    forest: Forest, x0: Inputs, y: int, aim: int | None, set: PerturbationSet
) -> tuple[Inputs | None, float, float]:
    """The nearest point of all leaves that serve the adversary."""
    (tree,) = forest.trees
    low, high = cells(tree, *_limits(set, x0), x0.dtype)
    scores = torch.from_numpy(tree.scores + forest.constant)
    label = torch.full((len(scores),), y)
    wanted = met(scores, label, None if aim is None else torch.full_like(label, aim)).numpy()
    wanted &= (low <= high).all(1)
    if not wanted.any():
        return None, math.inf, math.inf
    start = x0.detach().cpu().flatten(1).double().numpy()
    points = torch.from_numpy(start.clip(low[wanted], high[wanted])).to(x0.dtype)
    distances = set.distance(torch.from_numpy(start).to(x0.dtype).expand_as(points), points)
    best = int(distances.argmin())
    distance = float(distances[best])
    if distance > set.radius:
        return None, math.inf, distance * BELOW
    return points[best : best + 1].reshape(x0.shape).to(x0), distance, distance * BELOW


@final
@dataclass(frozen=True, eq=False)
class _Program:
    """One mixed integer program. Its variables are the predicates [x <= threshold], the leaves, and for linf a radius.

    features: those that some tree asks about; all lists are in their order. thresholds: in rising order. points, costs:
    the nearest point of each interval between two thresholds, and what it costs; inf where it may not be entered.
    """

    forest: Forest
    x0: Inputs
    power: float
    leads: list[tuple[int, int]]
    features: list[int]
    thresholds: list[Floats]
    points: list[Floats]
    costs: list[Floats]

    @classmethod
    def of(cls, forest: Forest, x0: Inputs, set: PerturbationSet, leads: list[tuple[int, int]]) -> "_Program":
        """leads: pairs (winner, loser) of classes, all to be reached."""
        low, high = (side.double().flatten().numpy() for side in _limits(set, x0))
        start = x0.detach().cpu().flatten().double().numpy()
        features, thresholds, points, costs = [], [], [], []
        power = POWERS[set.name]
        for feature in range(forest.features):
            seen = np.unique(np.concatenate([t.upto[:, feature] for t in forest.trees]))
            seen = seen[np.isfinite(seen)]
            if not len(seen):
                continue
            first = np.maximum(np.concatenate([[-np.inf], first_right(seen, x0.dtype)]), low[feature])
            last = np.minimum(np.concatenate([last_left(seen, x0.dtype), [np.inf]]), high[feature])
            point = np.minimum(np.maximum(start[feature], first), last)
            moved = np.abs(point - start[feature])
            moved[(first > last) | (moved > set.radius)] = np.inf
            features.append(feature)
            thresholds.append(seen)
            points.append(point)
            costs.append(moved if power == math.inf else moved**power)
        return cls(forest, x0, power, leads, features, thresholds, points, costs)

    def solve(self, nodes: int) -> tuple[list[Inputs], float]:
        """(points that may serve the adversary, a distance within which nothing does; inf where nothing is near).

        The program is relaxed by SLACK, so that its bound holds in spite of rounding; if its answer lies in the slack,
        a second program asks for a point beyond it.
        """
        found, bound = self._solve(-SLACK, nodes)
        if found is None:
            return [], bound
        strict, _ = (None, 0.0) if self._leads_by(found) >= 0 else self._solve(SLACK, nodes)
        return [point for point in (found, strict) if point is not None], bound

    def _solve(self, slack: float, nodes: int) -> tuple[Inputs | None, float]:
        scale = max((float(c[np.isfinite(c)].max()) for c in self.costs), default=0.0) or 1.0
        rows = _Rows()
        sizes = [len(t) for t in self.thresholds]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        leaves = int(starts[-1]) + np.concatenate([[0], np.cumsum([len(t.scores) for t in self.forest.trees])])
        width = int(leaves[-1]) + 1  # the last is the radius
        lowest, highest, objective = np.zeros(width), np.ones(width), np.zeros(width)
        highest[-1] = np.inf
        constant = 0.0
        for at, cost in zip(starts, self.costs, strict=False):
            near = np.flatnonzero(np.isfinite(cost))
            if not len(near):
                return None, math.inf
            lowest[at + near[-1] : at + len(cost) - 1] = 1
            highest[at : at + near[0]] = 0
            cost = cost[np.arange(len(cost)).clip(near[0], near[-1])] / scale
            step = np.arange(at, at + len(cost) - 1)
            if self.power == math.inf:  # radius - sum of predicates * (cost before - cost after) >= the last cost
                rows.add([*step, width - 1], [*(cost[1:] - cost[:-1]), 1.0], cost[-1], np.inf)
                objective[-1] = 1
            else:
                objective[step] = cost[:-1] - cost[1:]
                constant += cost[-1]
            for before in step[:-1]:
                rows.add([before, before + 1], [-1, 1], 0, np.inf)
        for tree, first in zip(self.forest.trees, leaves, strict=False):
            own = np.arange(first, first + len(tree.scores))
            rows.add(own, np.ones(len(own)), 1, 1)
            for feature, at, thresholds in zip(self.features, starts, self.thresholds, strict=False):
                for place in np.flatnonzero(np.isin(thresholds, tree.upto[:, feature])):
                    left = own[tree.upto[:, feature] <= thresholds[place]]
                    right = own[tree.above[:, feature] >= thresholds[place]]
                    rows.add([*left, at + place], [*np.ones(len(left)), -1], -np.inf, 0)
                    rows.add([*right, at + place], [*np.ones(len(right)), 1], -np.inf, 1)
        for up, down in self.leads:
            gap = np.concatenate([t.scores[:, up] - t.scores[:, down] for t in self.forest.trees])
            lead = self.forest.constant[up] - self.forest.constant[down]
            size = np.abs(gap).max(initial=abs(lead)) or 1.0
            rows.add(np.arange(leaves[0], leaves[-1]), gap / size, slack - lead / size, np.inf)
        integral = np.zeros(width)
        integral[: starts[-1]] = 1
        answer = milp(
            objective,
            integrality=integral,
            bounds=Bounds(lowest, highest),
            constraints=rows.constraint(width),
            options={"node_limit": nodes, "mip_rel_gap": 0},
        )
        if answer.status == 2:  # infeasible
            return None, math.inf
        dual = answer.mip_dual_bound
        least = 0.0 if dual is None or not math.isfinite(dual) else max(0.0, dual + constant - SLACK * (1 + abs(dual)))
        bound = least * scale if self.power == math.inf else (least * scale) ** (1 / self.power)
        if answer.x is None:
            return None, bound
        return self._point(answer.x[: starts[-1]] > 0.5, starts), bound

    def _point(self, predicates: np.ndarray, starts: np.ndarray) -> Inputs:
        x = self.x0.detach().cpu().flatten().double().numpy().copy()
        for feature, at, points in zip(self.features, starts, self.points, strict=False):
            x[feature] = points[len(points) - 1 - int(predicates[at : at + len(points) - 1].sum())]
        return torch.from_numpy(x).to(self.x0).reshape(self.x0.shape)

    def _leads_by(self, x: Inputs) -> float:
        scores = self.forest.scores(x)[0]
        return min(float(scores[up] - scores[down]) for up, down in self.leads)


@final
class _Rows:
    """The rows of a sparse matrix of constraints, as they are added."""

    def __init__(self) -> None:
        self._rows: list[tuple[list[int], list[float]]] = []
        self._limits: list[tuple[float, float]] = []

    def add(self, columns: object, values: object, low: float, high: float) -> None:
        """low <= sum of values * columns <= high."""
        self._rows.append((list(columns), list(values)))  # type: ignore[call-overload]
        self._limits.append((low, high))

    def constraint(self, width: int) -> LinearConstraint:
        """All of them."""
        ends = np.cumsum([0] + [len(columns) for columns, _ in self._rows])
        columns = np.concatenate([c for c, _ in self._rows])
        values = np.concatenate([v for _, v in self._rows])
        matrix = csr_array((values, columns.astype(int), ends), shape=(len(self._rows), width))
        low, high = zip(*self._limits, strict=True)
        return LinearConstraint(matrix, np.array(low), np.array(high))


def _alternatives(classes: int, y: int, aim: int | None) -> Iterator[list[tuple[int, int]]]:
    """What serves the adversary, as alternatives: each a list of (winner, loser) that must all hold."""
    if aim is not None:
        yield [(aim, other) for other in range(classes) if other != aim]
        return
    for rival in range(classes):
        if rival != y:
            yield [(rival, y)]


def _serves(forest: Forest, x: Inputs, y: int, aim: int | None) -> bool:
    scores = forest.scores(x)
    return bool(met(scores, torch.tensor([y]), None if aim is None else torch.tensor([aim])))


def _limits(set: PerturbationSet, x0: Inputs) -> tuple[Tensor, Tensor]:
    """(lowest, highest) valid input, one a feature, flat."""
    low, high = set.box.limits(x0)
    shape = x0.shape[1:]
    return low.expand(shape).flatten().cpu(), high.expand(shape).flatten().cpu()
