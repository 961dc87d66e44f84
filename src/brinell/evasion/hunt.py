"""The hunt: the one driver under every attack.

A hunt holds the examples still standing and the point each has reached. An attack only says where to go next; the
hunt asks the target, counts what it asks, keeps the best candidate of each example, retires the examples that just
broke or have spent their queries, and shrinks everything that belongs to them. So an attack never sees a finished
example, and works on ever smaller batches.
"""

from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol, TypeVar, final, runtime_checkable

import torch
from torch import Tensor

from brinell.targets import Target
from brinell.threat import Access, PerturbationSet, Threat
from brinell.threat.goal import met, met_by_label
from brinell.types import Inputs, Labels, Logits, Mask, Scores


@runtime_checkable
class Objective(Protocol):
    """What an attack ascends: one number an example, from its scores, its label, and the class aimed at (or None).

    Larger is better for the adversary, with or without an aim, so no caller ever turns a sign.
    """

    def __call__(self, scores: Logits, y: Labels, aim: Labels | None) -> Scores: ...


@runtime_checkable
class _Rows(Protocol):
    """A dataclass whose tensors have one row an example."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


R = TypeVar("R", bound=_Rows)


@final
class Hunt:
    """A search over a batch of examples under one threat.

    x0, y: the examples still standing. x: the point each has reached, always in set ∩ box. aim: the class each is
    headed for, or None; the goal's own aim to begin with. goal_aims: that aim, for all examples. clean: scores at x0,
    where they are seen. rng: the only source of chance. checkpoint: called before the target is asked; what it raises
    ends the hunt.
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
        self._target = target.restrict(threat.access)
        self._budget = threat.queries
        self._checkpoint = checkpoint
        self.set: PerturbationSet = threat.set
        self.access = self._target.access
        self.rng = rng
        self.rows = torch.arange(len(x0), device=x0.device)
        self.x0, self.x, self.y = x0, x0, y
        self.aim: Labels | None = None
        self.clean: Logits | None = None
        self.queries = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
        self.gradients = torch.zeros_like(self.queries)
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

    def move(self, x: Inputs) -> None:
        """Go to the points of set ∩ box nearest to x."""
        self.x, self._seen = self.set.project(self.x0, x), False

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
        self._spend(0)
        if len(self):
            self._retire(met_by_label(self._target.labels(self.x), self.y, self._aims))

    def scores(self) -> Logits:
        """Scores at x, of the examples that still stand after them."""
        self._spend(0)
        scores = self._target.scores(self.x) if len(self) else self._nothing()
        return scores[self._retire(met(scores, self.y, self._aims))]

    def value(self, objective: Objective) -> Scores:
        """The objective at x, of the examples that still stand after it."""
        scores = self.scores()
        return objective(scores, self.y, self.aim)

    def gradient(self, objective: Objective) -> tuple[Scores, Inputs]:
        """(objective, its gradient) at x, of the examples that still stand after it.

        What is not finite in a gradient is zero.
        """
        self._spend(1)
        if not len(self):
            return self.x.new_zeros(0), self.x
        y, aim = self.y, self.aim

        def of_chunk(scores: Logits, rows: slice) -> Scores:
            return objective(scores, y[rows], None if aim is None else aim[rows])

        scores, value, g = self._target.gradient(self.x, of_chunk)
        keep = self._retire(met(scores, self.y, self._aims))
        return value[keep], torch.nan_to_num(g[keep], 0.0, 0.0, 0.0)

    def _look_first(self, threat: Threat) -> None:
        """One look at the clean examples: it retires those already lost, and lets the goal take its aim."""
        if self.access < Access.SCORES:
            self.goal_aims = self._aims = self.aim = threat.goal.aims(self.y, None)
            self.look()
            return
        self._spend(0)
        clean = self._target.scores(self.x0) if len(self) else self._nothing()
        self.goal_aims = self._aims = self.aim = threat.goal.aims(self.y, clean)
        self.clean = clean
        self._retire(met(clean, self.y, self._aims))

    def _spend(self, gradients: int) -> None:
        """Count one forward row (and gradient row) for each example that can pay, and retire the others unasked."""
        self._checkpoint()
        self._seen = True
        if self._budget is not None:
            self._keep(self.queries[self.rows] < self._budget)
        self.queries[self.rows] += 1
        self.gradients[self.rows] += gradients

    def _retire(self, hits: Mask) -> Mask:
        """Note the hits; keep the rest, and say which they are.

        Where no radius is given the smallest perturbation is sought, and a hit is no reason to stop.
        """
        if not hits.any():
            return ~hits
        won, x0, x = self.rows[hits], self.x0[hits], self.x[hits]
        distance = self.set.distance(x0, x)
        closer = distance < self.distance[won]
        self.candidates[won[closer]] = x[closer]
        self.distance[won[closer]] = distance[closer]
        if self.set.radius == torch.inf:
            hits = hits & (self.distance[self.rows] == 0)
        self._keep(~hits)
        return ~hits

    def _keep(self, keep: Mask) -> None:
        if keep.all():
            return
        self.rows, self.x0, self.x, self.y = self.rows[keep], self.x0[keep], self.x[keep], self.y[keep]
        self.aim, self._aims, self.clean = (
            _some(self.aim, keep),
            _some(self._aims, keep),
            _some(self.clean, keep),
        )
        for rows in self._carried:
            for field in fields(rows):
                setattr(rows, field.name, getattr(rows, field.name)[keep])

    def _nothing(self) -> Logits:
        classes = 2 if self.clean is None else self.clean.shape[1]
        return self.x.new_zeros((0, classes))


def _some(rows: Tensor | None, keep: Mask) -> Tensor | None:
    return None if rows is None else rows[keep]
