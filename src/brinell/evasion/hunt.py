"""The hunt: the one driver under every attack.

A hunt holds the examples still standing and the point each has reached. An attack only says where to go next; the
hunt asks the target, counts what it asks, keeps the best candidate of each example, retires the examples that just
broke or have spent their queries, and shrinks everything that belongs to them. So an attack never sees a finished
example, and works on ever smaller batches.
"""

from collections.abc import Callable, Iterator
from typing import final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from brinell.evasion.memory import Carried as Carried
from brinell.evasion.memory import Memory
from brinell.evasion.objective import AnyObjective as AnyObjective
from brinell.evasion.objective import Objective as Objective
from brinell.evasion.objective import Relative as Relative
from brinell.evasion.objective import of_rows
from brinell.evasion.units import exact_unit, finite, in_units, ordinary_unit
from brinell.targets import Target
from brinell.threat import Access, PerturbationSet, Threat
from brinell.threat.goal import Goal, met, met_by_label
from brinell.types import Inputs, Jacobian, Labels, Logits, Mask, Scores

Classes = Int64[Tensor, "batch classes"]
Points = Float[Tensor, "points batch *shape"]
Hits = Bool[Tensor, "points batch"]

NO_LIMIT = torch.iinfo(torch.int64).max
"""The budget of an example that has none."""


@final
class Hunt:
    """A search over a batch of examples under one threat.

    All of it is in units in which the box, or the data where it has no end, is about one wide (`PerturbationSet.unit`):
    a length of 0.01 is about a hundredth of the box, whatever the user's own units are. unit, measure: what one is in
    those, of an input and of a distance in the set; both are powers of two, so that nothing is rounded. So are scores:
    an attack sees them divided by `score_unit`, a power of two for each example with which the clean scores spread as
    those of an ordinary network do (`ordinary_unit`), whatever a positive factor the network puts on them.

    x0, y: the examples still standing; rows: which of all they are. x: the point each has reached, always in set ∩ box.
    aim: the class each is headed for, or None; a run may set it where the goal has none. clean: scores at x0, where
    they are seen. hit: whether the last question showed a point that meets the goal; the example still stands only
    where that point is outside the set, or where the smallest perturbation is sought (an infinite radius). rng: the
    only source of chance.

    goal_aims, queries, gradients, candidates, distance: of all examples. The goal's own aim, or None; the queries and
    gradients spent; the nearest witness so far, and its distance, inf where there is none.

    carry, carrying: what an attack remembers of each example, as `Memory` has it. checkpoint: called before the target
    is asked; what it raises ends the hunt.
    """

    aim: Labels | None
    goal_aims: Labels | None
    clean: Logits | None = None
    _margin = 0.0
    _moved = False

    def __init__(
        self,
        target: Target,
        x0: Inputs,
        y: Labels,
        threat: Threat,
        rng: torch.Generator,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> None:
        self.unit = exact_unit(threat.set.unit(x0), x0)
        self.measure = threat.set.distance_unit(self.unit)
        self.set: PerturbationSet = threat.set.rescaled(self.unit)
        self._target = target.restrict(threat.access).rescaled(self.unit)
        self.access = self._target.access
        self.rng = rng
        self._budget = NO_LIMIT if threat.queries is None else threat.queries
        self._checkpoint = checkpoint

        self.x0 = self.x = self.inward(x0)
        self.y = y
        self.rows = torch.arange(len(x0), device=x0.device)
        self.hit = torch.zeros_like(self.rows, dtype=torch.bool)
        self.score_unit: Scores = torch.ones_like(self.rows, dtype=torch.float64)
        self._memory = Memory()
        self.carry = self._memory.carry
        self.carrying = self._memory.carrying

        self.queries = torch.zeros_like(self.rows)
        self.gradients = torch.zeros_like(self.rows)
        self.candidates = self.x0.clone()
        self.distance = torch.full_like(self.rows, torch.inf, dtype=torch.float64)
        self._query_clean(threat.goal)

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self, count: int) -> Iterator[int]:
        """0 to count - 1, for as long as an example stands."""
        for step in range(count):
            if not len(self):
                return
            yield step

    def begin(self) -> None:
        """Back to the clean examples and the goal's own aim, as before a restart; carried rows are let go."""
        self.query_if_moved()
        self.x = self.x0
        self.aim = self._goal_aim
        self._memory.clear()

    def limit(self, queries: int) -> None:
        """Let no example ask for more than this many queries in all, whatever the threat allows beyond."""
        self._budget = min(self._budget, queries)

    def require_margin(self, margin: float) -> None:
        """From now on the goal is met only by this margin, in the user's own units of the scores."""
        self._margin = margin

    @property
    def required_margin(self) -> Scores:
        """That margin in the units of the scores that an attack sees, one number an example."""
        return (self._margin / self.score_unit).to(self.x0.dtype)

    def drop(self, done: Mask) -> None:
        """Let go of the examples for which the search has nothing left to try; their candidates are kept."""
        self._keep(~done)

    def move(self, x: Inputs) -> None:
        """Go to the points of set ∩ box nearest to x."""
        self._go(self.set.project(self.x0, x.to(self.x0.dtype)))

    def move_in_box(self, x: Inputs) -> None:
        """Go to the valid points nearest to x, whether in the set or not; outside of it nothing is a witness."""
        self._go(self.set.valid(self.x0, x.to(self.x0.dtype)))

    def sample(self) -> None:
        """Go to random points of set ∩ box."""
        self._go(self.set.sample(self.x0, self.rng))

    def query_if_moved(self) -> None:
        """Query x if that has not been done since the last move: the last point of a search is judged too."""
        if self._moved:
            self.query()

    def query(self) -> None:
        """Ask for what is seen of x, scores or decisions; what meets the goal is noted and retired."""
        self._moved = False
        self.decide(self.x.unsqueeze(0))

    def scores(self) -> Logits:
        """Scores at x, of the examples that still stand after them."""
        self._moved = False
        return self.probe(self.x.unsqueeze(0))[0]

    def value(self, objective: AnyObjective) -> Scores:
        """The objective at x, of the examples that still stand after it."""
        scores = self.scores()
        return self._over_scores(objective)(scores, slice(None))

    def gradient(self, objective: AnyObjective) -> tuple[Scores, Inputs]:
        """(objective, its gradient) at x, of the examples that still stand after it.

        What is not finite in a gradient is zero.
        """
        self._moved = False
        value, g = self.probe_gradient(self.x.unsqueeze(0), objective)
        return value[0], g[0]

    def jacobian(self, classes: Classes, against: Labels | None = None) -> tuple[Logits, Jacobian]:
        """(scores, the gradient of the score of each of these classes) at x, of the examples that still stand after it.

        classes: k class indices an example. against: a class whose score is taken off each. It costs one query
        and k gradient rows each.
        """
        self._moved = False
        paid = self._spend(gradients=classes.shape[1])
        classes = classes[paid]
        against = _some(against, paid)
        if not len(self):
            return self._no_scores(), self.x.unsqueeze(1).expand(-1, classes.shape[1], *self.x.shape[1:])
        scores, jacobian = self._target.jacobian(self.x, classes, against)
        keep = self._retire(self.x.unsqueeze(0), self._met(scores))
        jacobian = finite(_those(jacobian, keep))
        return in_units(_those(scores, keep), self.score_unit), in_units(jacobian, self.score_unit)

    def probe(self, points: Points) -> Float[Tensor, "points batch classes"]:
        """Scores at several points of each example at once, of the examples that still stand after them.

        points: (k, batch, *shape), taken as they are; x stays where it is. A point outside set ∩ box is answered and
        never a witness, so `set.project` first what shall be one.
        """
        points = _those(points, self._spend(len(points)), 1)
        if not len(self):
            return self._no_scores().expand(len(points), -1, -1)
        scores = self._target.scores(points.flatten(0, 1))
        keep = self._retire(points, self._met(scores, len(points)))
        scores = _those(scores.unflatten(0, points.shape[:2]), keep, 1)
        return scores / self.score_unit.to(scores.dtype).unsqueeze(1)

    def probe_gradient(self, points: Points, objective: AnyObjective) -> tuple[Float[Tensor, "points batch"], Points]:
        """(objective, its gradient) at several points of each example at once; otherwise as `probe`."""
        points = _those(points, self._spend(len(points), len(points)), 1)
        if not len(self):
            return self.x.new_zeros((len(points), 0)), points
        ask = self._over_scores(objective, len(points))
        unit = self.score_unit.repeat(len(points))
        scores, value, g = self._target.gradient(
            points.flatten(0, 1), lambda scores, rows: ask(in_units(scores, unit[rows]), rows)
        )
        keep = self._retire(points, self._met(scores, len(points)))
        return _those(value.reshape(points.shape[:2]), keep, 1), _those(finite(g).reshape(points.shape), keep, 1)

    def decide(self, points: Points, asked: Mask | Hits | None = None) -> Hits:
        """Whether each of several points meets the goal, of the examples that still stand after them.

        It needs labels only. asked: the examples that are asked at all, or the points of each that are; False stands
        for the others, at no cost. Points as in `probe`.
        """
        hits = torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device)
        asked = ~hits if asked is None else asked.expand_as(hits)
        paid = self._spend(asked.sum(0))
        points, hits, asked = (_those(rows, paid, 1) for rows in (points, hits, asked))
        if asked.any():
            row = asked.nonzero(as_tuple=True)[1]
            y = self.y[row]
            aim = _some(self._goal_aim, row)
            if self.access >= Access.SCORES:
                hits[asked] = met(self._target.scores(points[asked]), y, aim, self._margin)
            else:
                hits[asked] = met_by_label(self._target.labels(points[asked]), y, aim)
        return _those(hits, self._retire(points, hits), 1)

    def outward(self, x: Inputs) -> Inputs:
        """Points of the hunt in the user's units."""
        return x if self.unit == 1 else x * self.unit

    def inward(self, x: Inputs) -> Inputs:
        """Points in the user's units as points of the hunt."""
        return x if self.unit == 1 else x / self.unit

    @property
    def left(self) -> Int64[Tensor, " batch"]:
        """The queries each example may still ask for; about `NO_LIMIT` where there is no limit."""
        left: Tensor = self._budget - self.queries[self.rows]
        return left

    @property
    def reach(self) -> Scores:
        """The distance of the nearest witness found so far, float64; inf where there is none."""
        return self.distance[self.rows]

    @property
    def _goal_aim(self) -> Labels | None:
        return _some(self.goal_aims, self.rows)

    def _query_clean(self, goal: Goal) -> None:
        """Ask about the clean examples: it retires those already misclassified, and lets the goal take its aim."""
        if self.access < Access.SCORES:
            self.goal_aims = self.aim = goal.aims(self.y, None)
            self.query()
            return
        self._spend()
        clean = self._target.scores(self.x0) if len(self) else self._no_scores()
        self.goal_aims = self.aim = goal.aims(self.y, clean)
        self.score_unit = ordinary_unit(clean)
        self.clean = in_units(clean, self.score_unit)
        self._retire(self.x0.unsqueeze(0), self._met(clean))

    def _go(self, x: Inputs) -> None:
        self.x = x
        self._moved = True

    def _spend(self, queries: int | Int64[Tensor, " batch"] = 1, gradients: int = 0) -> Mask:
        """Count these for each example that can pay, and retire the others unasked; says who stays."""
        self._checkpoint()
        paid = self.left >= queries
        rows = self.rows[paid]
        self.queries[rows] += queries if isinstance(queries, int) else queries[paid]
        self.gradients[rows] += gradients
        self._keep(paid)
        return paid

    def _met(self, scores: Logits, points: int = 1) -> Hits:
        """Whether the scores of `points` batches, one after the other, meet the goal."""
        row = self._repeated(points)
        return met(scores, self.y[row], _some(self._goal_aim, row), self._margin).reshape(points, -1)

    def _retire(self, points: Points, hits: Hits) -> Mask:
        """Keep each example's nearest hit among these points, of those in set ∩ box, and say who still stands.

        Where no radius is given the smallest perturbation is sought, and a hit is no reason to stop.
        """
        self.hit = hits.any(0)
        if not hits.any():
            return ~self.hit
        which, row = hits.nonzero(as_tuple=True)
        x0 = self.x0[row]
        x = points[which, row]
        distance = torch.full(hits.shape, torch.inf, dtype=torch.float64, device=x.device)
        distance[which, row] = self.set.distance(x0, x).where(self.set.contains(x0, x), torch.inf)
        nearest = distance.min(0)

        closer = nearest.values < self.reach
        won = self.rows[closer]
        self.candidates[won] = points[nearest.indices[closer], closer.nonzero().squeeze(1)]
        self.distance[won] = nearest.values[closer]
        standing = self.reach > 0 if self.set.radius == torch.inf else nearest.values.isinf()
        self._keep(standing)
        return standing

    def _keep(self, keep: Mask) -> None:
        """Shrink everything that belongs to an example to these."""
        if keep.all():
            return
        for name in ("rows", "x0", "x", "y", "aim", "clean", "score_unit", "hit"):
            setattr(self, name, _some(getattr(self, name), keep))
        self._memory.keep(keep)

    def _over_scores(self, objective: AnyObjective, points: int = 1) -> Callable[[Logits, slice], Scores]:
        """The objective of some rows of scores, in units, where `points` batches follow one another."""
        row = self._repeated(points)
        return of_rows(objective, self.y[row], _some(self.aim, row), _some(self.clean, row), self.score_unit[row])

    def _repeated(self, times: int) -> Int64[Tensor, " rows"]:
        """The example that each row of `times` batches, one after the other, belongs to."""
        return torch.arange(len(self), device=self.rows.device).repeat(times)

    def _no_scores(self) -> Logits:
        classes = 2 if self.clean is None else self.clean.shape[1]
        return self.x.new_zeros((0, classes))


def _those(values: Tensor, keep: Mask, axis: int = 0) -> Tensor:
    """Those of these rows along an axis, without a copy where it is all of them."""
    if keep.all():
        return values
    return values[:, keep] if axis else values[keep]


def _some(rows: Tensor | None, keep: Tensor | slice) -> Tensor | None:
    return None if rows is None else rows[keep]
