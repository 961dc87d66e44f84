"""The hunt: the one driver under every attack.

A hunt holds the examples still standing and the point each has reached. An attack only says where to go next; the
hunt asks the target, counts what it asks, keeps the best candidate of each example, retires the examples that just
broke or have spent their queries, and shrinks everything that belongs to them. So an attack never sees a finished
example, and works on ever smaller batches.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol, TypeVar, final, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from brinell.evasion.objective import Absolute as Absolute
from brinell.evasion.objective import Objective as Objective
from brinell.evasion.objective import Relative as Relative
from brinell.targets import Target
from brinell.threat import Access, PerturbationSet, Threat
from brinell.threat.goal import met, met_by_label
from brinell.types import Inputs, Jacobian, Labels, Logits, Mask, Scores

Classes = Int64[Tensor, "batch classes"]
Points = Float[Tensor, "points batch *shape"]
AnyObjective = Objective | Relative | Absolute

ORDINARY = 10.0
"""How far the highest clean score lies above the mean of all, with a network trained on cross-entropy: about."""


@runtime_checkable
class _Rows(Protocol):
    """A dataclass whose tensors have one row an example."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


R = TypeVar("R", bound=_Rows)


@final
class Hunt:
    """A search over a batch of examples under one threat.

    All of it is in units in which the box, or the data where it has no end, is about one wide (`PerturbationSet.unit`):
    a length of 0.01 is about a hundredth of the box, whatever the user's own units are. unit, measure: what one is in
    those, of an input and of a distance in the set; both are powers of two, so that nothing is rounded. So are scores:
    an attack sees them divided by `score_unit`, a power of two for each example with which the clean scores spread as
    those of an ordinary network do (`ordinary_unit`), whatever a positive factor the network puts on them.

    x0, y: the examples still standing. x: the point each has reached, always in set ∩ box. aim: the class each is
    headed for, or None; the goal's own aim to begin with. goal_aims: that aim, for all examples. clean: scores at x0,
    where they are seen. hit: whether the last point asked about served the adversary; the example still stands only
    where the smallest perturbation is sought (an infinite radius). rng: the only source of chance. checkpoint: called
    before the target is asked; what it raises ends the hunt.
    """

    def __init__(
        self,
        target: Target,
        x0: Inputs,
        y: Labels,
        threat: Threat,
        rng: torch.Generator,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> None:
        self.unit = _exact_unit(threat.set.unit(x0), x0)
        self.measure = threat.set.distance_unit(self.unit)
        x0 = x0 if self.unit == 1 else x0 / self.unit
        self._target = target.restrict(threat.access).rescaled(self.unit)
        self._budget = threat.queries
        self._lead = 0.0
        self._checkpoint = checkpoint
        self.set: PerturbationSet = threat.set.rescaled(self.unit)
        self.access = self._target.access
        self.rng = rng
        self.rows = torch.arange(len(x0), device=x0.device)
        self.x0, self.x, self.y = x0, x0, y
        self.aim: Labels | None = None
        self.clean: Logits | None = None
        self.score_unit: Scores = torch.ones(len(x0), dtype=torch.float64, device=x0.device)
        self.queries = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
        self.gradients = torch.zeros_like(self.queries)
        self.hit = torch.zeros(len(x0), dtype=torch.bool, device=x0.device)
        self.candidates = x0.clone()
        self.distance = torch.full((len(x0),), torch.inf, dtype=torch.float64, device=x0.device)
        self._carried: list[_Rows] = []
        self._seen = True
        self._aims: Labels | None = None
        self._look_first(threat)

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
        self.settle()
        self.x, self.aim = self.x0, self._aims
        self._carried.clear()

    def carry(self, rows: R) -> R:
        """Shrink the tensors of this dataclass together with the hunt, until the next `begin`."""
        self._carried.append(rows)
        return rows

    @contextmanager
    def carrying(self, rows: R) -> Iterator[R]:
        """`carry` for the length of a block: for what a part of a search remembers."""
        self._carried.append(rows)
        try:
            yield rows
        finally:
            self._carried = [other for other in self._carried if other is not rows]

    def limit(self, queries: int) -> None:
        """Let no example ask for more than this many forward rows in all, whatever the threat allows beyond."""
        self._budget = queries if self._budget is None else min(self._budget, queries)

    def demand(self, lead: float) -> None:
        """From now on only what leads by so much serves the adversary: the margin by which a goal has to be met.

        lead: in the user's own units of the scores.
        """
        self._lead = lead

    @property
    def demanded(self) -> Scores:
        """That lead in the units of the scores that an attack sees, one number an example."""
        return (self._lead / self.score_unit).to(self.x0.dtype)

    def dismiss(self, done: Mask) -> None:
        """Let go of the examples for which the search has nothing left to try; their candidates are kept."""
        self._keep(~done)

    def move(self, x: Inputs) -> None:
        """Go to the points of set ∩ box nearest to x."""
        self.x, self._seen = self.set.project(self.x0, x.to(self.x0.dtype)), False

    def roam(self, x: Inputs) -> None:
        """Go to the valid points nearest to x, whether in the set or not; outside of it nothing is a witness."""
        self.x, self._seen = self.set.valid(self.x0, x.to(self.x0.dtype)), False

    def sample(self) -> None:
        """Go to random points of set ∩ box."""
        self.x, self._seen = self.set.sample(self.x0, self.rng), False

    def settle(self) -> None:
        """Look at x if nobody has: the last point of a search is judged too."""
        if not self._seen:
            self.look()

    def look(self) -> None:
        """Ask for what is seen of x, scores or decisions; what serves the adversary is noted and retired."""
        if self.access >= Access.SCORES:
            self.scores()
            return
        self._seen = True
        self._spend()
        if len(self):
            self._retire(met_by_label(self._target.labels(self.x), self.y, self._aims))

    def scores(self) -> Logits:
        """Scores at x, of the examples that still stand after them."""
        self._seen = True
        self._spend()
        scores = self._target.scores(self.x) if len(self) else self._nothing()
        keep = self._retire(self._met(scores, self.y, self._aims))
        return in_units(scores[keep], self.score_unit)

    def value(self, objective: AnyObjective) -> Scores:
        """The objective at x, of the examples that still stand after it."""
        scores = self.scores()
        return self._of(objective)(scores, slice(None))

    def gradient(self, objective: AnyObjective) -> tuple[Scores, Inputs]:
        """(objective, its gradient) at x, of the examples that still stand after it.

        What is not finite in a gradient is zero.
        """
        self._seen = True
        self._spend(gradients=1)
        if not len(self):
            return self.x.new_zeros(0), self.x
        scores, value, g = self._target.gradient(self.x, self._asked(objective))
        keep = self._retire(self._met(scores, self.y, self._aims))
        return _rows(value, keep), _finite(_rows(g, keep))

    def jacobian(self, classes: Classes, against: Labels | None = None) -> tuple[Logits, Jacobian]:
        """(scores, the gradient of the score of each of these classes) at x, of the examples that still stand after it.

        classes: k class indices an example. against: a class whose score is taken off each. It costs one forward row
        and k gradient rows each.
        """
        self._seen = True
        paid = self._spend(gradients=classes.shape[1])
        classes, against = classes[paid], _some(against, paid)
        if not len(self):
            return self._nothing(), self.x.unsqueeze(1).expand(-1, classes.shape[1], *self.x.shape[1:])
        scores, jacobian = self._target.jacobian(self.x, classes, against)
        keep = self._retire(self._met(scores, self.y, self._aims))
        jacobian = _finite(_rows(jacobian, keep))
        return in_units(_rows(scores, keep), self.score_unit), in_units(jacobian, self.score_unit)

    def probe(self, points: Points) -> Float[Tensor, "points batch classes"]:
        """Scores at several points of each example at once, of the examples that still stand after them.

        points: (k, batch, *shape), taken as they are; x stays where it is. A point outside set ∩ box is answered and
        never a witness, so `set.project` first what shall be one.
        """
        points = points[:, self._spend(len(points))]
        if not len(self):
            return self._nothing().expand(len(points), -1, -1)
        scores = self._target.scores(points.flatten(0, 1))
        hits = self._met(scores, *self._over_points(len(points), self._aims)).unflatten(0, points.shape[:2])
        answers: Tensor = in_units(scores, self.score_unit.repeat(len(points))).unflatten(0, points.shape[:2])
        return answers[:, self._retire_any(points, hits)]

    def probe_gradient(self, points: Points, objective: AnyObjective) -> tuple[Float[Tensor, "points batch"], Points]:
        """(objective, its gradient) at several points of each example at once; otherwise as `probe`."""
        points = points[:, self._spend(len(points), len(points))]
        if not len(self):
            return self.x.new_zeros((len(points), 0)), points
        scores, value, g = self._target.gradient(points.flatten(0, 1), self._asked(objective, len(points)))
        hits = self._met(scores, *self._over_points(len(points), self._aims))
        keep = self._retire_any(points, hits.unflatten(0, points.shape[:2]))
        g = _finite(g).unflatten(0, points.shape[:2])
        return value.unflatten(0, points.shape[:2])[:, keep], g if keep.all() else g[:, keep]

    def decide(
        self, points: Points, asked: Mask | Bool[Tensor, "points batch"] | None = None
    ) -> Bool[Tensor, "points batch"]:
        """Whether each of several points serves the adversary, of the examples that still stand after them.

        It needs labels only. asked: the examples that are asked at all, or the points of each that are; False stands
        for the others, at no cost. Points as in `probe`.
        """
        hits = torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device)
        asked = ~hits if asked is None else asked.expand_as(hits)
        paid = self._spend(asked.sum(0))
        points, hits, asked = points[:, paid], hits[:, paid], asked[:, paid]
        if asked.any():
            row = asked.nonzero(as_tuple=True)[1]
            y, aims = self.y[row], _some(self._aims, row)
            if self.access >= Access.SCORES:
                hits[asked] = self._met(self._target.scores(points[asked]), y, aims)
            else:
                hits[asked] = met_by_label(self._target.labels(points[asked]), y, aims)
        return hits[:, self._retire_any(points, hits)]

    def outward(self, x: Inputs) -> Inputs:
        """Points of the hunt in the user's units."""
        return x if self.unit == 1 else x * self.unit

    def inward(self, x: Inputs) -> Inputs:
        """Points in the user's units as points of the hunt."""
        return x if self.unit == 1 else x / self.unit

    @property
    def left(self) -> Int64[Tensor, " batch"]:
        """The forward rows each example may still ask for; the largest integer where there is no limit."""
        most = torch.iinfo(torch.int64).max if self._budget is None else self._budget
        left: Tensor = most - self.queries[self.rows]
        return left

    @property
    def nearest(self) -> Inputs:
        """The nearest point found so far that serves the adversary; x0 where there is none."""
        return self.candidates[self.rows]

    @property
    def reach(self) -> Scores:
        """Its distance, float64; inf where there is none."""
        return self.distance[self.rows]

    def _look_first(self, threat: Threat) -> None:
        """One look at the clean examples: it retires those already lost, and lets the goal take its aim."""
        if self.access < Access.SCORES:
            self.goal_aims = self._aims = self.aim = threat.goal.aims(self.y, None)
            self.look()
            return
        self._spend()
        clean = self._target.scores(self.x0) if len(self) else self._nothing()
        self.goal_aims = self._aims = self.aim = threat.goal.aims(self.y, clean)
        self.score_unit = ordinary_unit(clean)
        self.clean = in_units(clean, self.score_unit)
        self._retire(met(clean, self.y, self._aims))

    def _spend(self, forwards: int | Int64[Tensor, " batch"] = 1, gradients: int = 0) -> Mask:
        """Count these rows for each example that can pay, and retire the others unasked; says who stays."""
        self._checkpoint()
        queries = self.queries[self.rows] + forwards
        paid = torch.ones_like(self.rows, dtype=torch.bool) if self._budget is None else queries <= self._budget
        self._keep(paid)
        self.queries[self.rows] = _rows(queries, paid)
        if gradients:
            self.gradients[self.rows] += gradients
        return paid

    def _met(self, scores: Logits, y: Labels, aims: Labels | None) -> Mask:
        return met(scores, y, aims, self._lead)

    def _retire(self, hits: Mask) -> Mask:
        """Note the hits at x; keep the rest, and say which they are.

        Where no radius is given the smallest perturbation is sought, and a hit is no reason to stop.
        """
        keep = self._note(hits & self.set.contains(self.x0, self.x), self.x) if hits.any() else ~hits
        self.hit = hits[keep]
        return keep

    def _retire_any(self, points: Points, hits: Bool[Tensor, "points batch"]) -> Mask:
        """The same for the nearest hit of each example among several points, of those in set ∩ box."""
        if not hits.any():
            return ~hits.any(0)
        which, row = hits.nonzero(as_tuple=True)
        x0, x = self.x0[row], points[which, row]
        distance = torch.full(hits.shape, torch.inf, dtype=torch.float64, device=x.device)
        distance[which, row] = self.set.distance(x0, x).where(self.set.contains(x0, x), torch.inf)
        best = distance.min(0)
        return self._note(best.values.isfinite(), points[best.indices, torch.arange(len(self), device=x.device)])

    def _note(self, hits: Mask, points: Inputs) -> Mask:
        self.hit = hits
        if not hits.any():
            return ~hits
        won, x0, x = self.rows[hits], self.x0[hits], points[hits]
        distance = self.set.distance(x0, x)
        closer = distance < self.distance[won]
        self.candidates[won[closer]] = x[closer]
        self.distance[won[closer]] = distance[closer]
        done = hits & (self.distance[self.rows] == 0) if self.set.radius == torch.inf else hits
        self._keep(~done)
        return ~done

    def _keep(self, keep: Mask) -> None:
        if keep.all():
            return
        self.rows, self.x0, self.x, self.y = self.rows[keep], self.x0[keep], self.x[keep], self.y[keep]
        self.hit, self.score_unit = self.hit[keep], self.score_unit[keep]
        self.aim, self._aims, self.clean = (
            _some(self.aim, keep),
            _some(self._aims, keep),
            _some(self.clean, keep),
        )
        for rows in self._carried:
            for field in fields(rows):
                setattr(rows, field.name, getattr(rows, field.name)[keep])

    def _asked(self, objective: AnyObjective, points: int = 1) -> Callable[[Logits, slice], Scores]:
        """The objective of a chunk of the target's own scores, where `points` batches follow one another."""
        ask, unit = self._of(objective, points), self.score_unit.repeat(points)
        return lambda scores, rows: ask(in_units(scores, unit[rows]), rows)

    def _of(self, objective: AnyObjective, points: int = 1) -> Callable[[Logits, slice], Scores]:
        """The same of scores that were divided by their unit."""
        y, aim = self._over_points(points, self.aim)
        if isinstance(objective, Absolute):
            unit = self.score_unit.repeat(points)
            return lambda scores, rows: of_rows(objective.within(unit[rows]), y, aim)(scores, rows)
        if not isinstance(objective, Relative):
            return of_rows(objective, y, aim)
        assert self.clean is not None  # scores are seen, and so were those of the clean input
        clean = self.clean if points == 1 else self.clean.repeat(points, 1)
        return lambda scores, rows: of_rows(objective.to(clean[rows]), y, aim)(scores, rows)

    def _over_points(self, points: int, aims: Labels | None) -> tuple[Labels, Labels | None]:
        """Label and aim of each row of `points` batches, one after the other."""
        if points == 1:
            return self.y, aims
        return self.y.repeat(points), None if aims is None else aims.repeat(points)

    def _nothing(self) -> Logits:
        classes = 2 if self.clean is None else self.clean.shape[1]
        return self.x.new_zeros((0, classes))


def _exact_unit(unit: float, x0: Inputs) -> float:
    """The unit, or one where some value is so small that it would be lost on the way."""
    return unit if torch.equal(x0 / unit * unit, x0) else 1.0


def ordinary_unit(clean: Logits) -> Scores:
    """The power of two for each example by which its scores are to be divided, so that they spread as is ordinary.

    Cross-entropy and other objectives that are not homogeneous saturate where scores are large, and are all but flat
    where they are small: its gradient is lost to rounding. The spread grows as the scores do, so that no positive
    factor on them is seen. Gupta and Ajanthan 2020 (arXiv:2003.13511) choose a temperature by the network's Jacobian.
    """
    above = clean.double().amax(1) - clean.double().mean(1)
    mantissa, exponent = torch.frexp(above.where((above > 0) & above.isfinite(), ORDINARY) / ORDINARY)
    return torch.ldexp(torch.ones_like(above), exponent - (mantissa < 0.5**0.5).int())


def in_units(values: Tensor, unit: Scores) -> Tensor:
    """Scores, or gradients of them, divided by the unit of their example: the first axis."""
    return values / unit.to(values.dtype).reshape(-1, *(1,) * (values.dim() - 1))


def _rows(values: Tensor, keep: Mask) -> Tensor:
    """Those of these rows, without a copy where it is all of them."""
    return values if keep.all() else values[keep]


def _finite(g: Tensor) -> Tensor:
    """Zero where it is not finite, without a copy where it is: a sum is finite only if all its parts are."""
    return g if g.sum().isfinite() else torch.nan_to_num(g, 0.0, 0.0, 0.0)


def of_rows(objective: Objective, y: Labels, aim: Labels | None) -> Callable[[Logits, slice], Scores]:
    """The objective as `Target.gradient` asks for it: of the scores of a chunk, and the rows they belong to."""
    return lambda scores, rows: objective(scores, y[rows], _some(aim, rows))


def _some(rows: Tensor | None, keep: Tensor | slice) -> Tensor | None:
    return None if rows is None else rows[keep]
