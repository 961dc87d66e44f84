"""Sharper witnesses of the most fragile examples: most attacks stop at the radius, which does not say who breaks first.

From each witness the nearest point that still serves is sought along the line to its example; from the nearest of
those a search for the smallest perturbation goes on (FMN, Pintor et al. 2021, arXiv:2102.12827). What comes of it goes
before the judge, and is evidence like any other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.auditing.plan import find
from brinell.auditing.work import ShardResult, seed_of
from brinell.data import Dataset
from brinell.evasion import FMN
from brinell.evasion.attack import run as run_attack
from brinell.evidence import Witness, judge
from brinell.evidence.judge import decides
from brinell.questions.evasion.engines import opinion
from brinell.targets import Target, TargetError
from brinell.threat import Access, Threat
from brinell.types import Inputs, Labels

SHARD = "sharpened"
"""The name in the ledger of what is found here."""

CANDIDATES = 256
"""Witnesses that are followed along a line, at most: those of the smallest distance."""

FEW = 64
"""Of them, those for which the smallest perturbation is sought."""

HALVINGS = 10
"""Points asked about on each line."""

STEPS = 30
"""Gradients of each search."""

BEYOND = 2.0**-7
"""How much farther from x0 than the nearest point that serves a witness is kept: on another machine, or in another
batch, a point on the boundary itself may not serve."""


@final
@dataclass
class _Nearest:
    """The nearest point so far of each example, judged; inf where none is nearer than its witness."""

    x: Inputs
    distance: Float[Tensor, " batch"]

    def offer(self, x: Inputs, distance: Float[Tensor, " batch"]) -> None:
        """Keep those that are nearer."""
        nearer = distance < self.distance
        self.x[nearer] = x[nearer]
        self.distance[nearer] = distance[nearer]

    def clear_of_the_boundary(self, seen: Target, threat: Threat, x0: Inputs, y: Labels, aims: Labels | None) -> None:
        """Move each a little farther from x0; inf where it does not serve there."""
        self.x = threat.set.box.clamp(torch.lerp(x0, self.x, 1 + BEYOND))
        broken, distance = judge(seen, threat.at(float("inf")).set, x0, self.x, y, aims)
        self.distance = distance.where(broken, torch.inf)


def chosen(witnesses: Sequence[Witness]) -> list[Witness]:
    """Those that are worth it: of examples that are right as they are, the nearest."""
    moved = [w for w in witnesses if w.distance > 0 and w.artifact is not None]
    return sorted(moved, key=lambda w: (w.distance, w.item))[:CANDIDATES]


def sharpen(
    target: Target,
    data: Dataset,
    threat: Threat,
    witnesses: Sequence[Witness],
    points: Inputs,
    seed: int,
    checkpoint: Callable[[], None],
) -> ShardResult:
    """Nearer witnesses of the same examples, where there are any. points: the witnesses' inputs, row by row.

    Nothing comes of it where the adversary's queries are counted, or where the model raises.
    """
    if threat.queries is not None or not witnesses:
        return ShardResult()
    rows = torch.tensor([w.item for w in witnesses])
    x0, y = data.x[rows], data.y[rows]
    seen = target.restrict(threat.access)
    nearest = _Nearest(points.clone(), torch.tensor([w.distance for w in witnesses], dtype=torch.float64))
    before = nearest.distance.clone()
    try:
        aims = threat.goal.aims(y, seen.scores(x0) if seen.access >= Access.SCORES else None)
        nearest.offer(*_along(seen, threat, x0, points, y, aims))
        few = nearest.distance.argsort(stable=True)[:FEW]
        if seen.access >= FMN.needs and threat.set.name in find("FMN").sets:
            rng = torch.Generator().manual_seed(seed_of(seed, SHARD, *(int(rows[i]) for i in few)))
            found = run_attack(FMN(steps=STEPS), target, x0[few], y[few], threat.at(float("inf")), rng, checkpoint)
            x, distance = points.clone(), torch.full_like(before, torch.inf)
            x[few], distance[few] = found.x, found.distance
            nearest.offer(x, distance)
        nearest.clear_of_the_boundary(seen, threat, x0, y, aims)
        sharper = (nearest.distance < before).nonzero().flatten().tolist()
        return _outcome(target, witnesses, nearest, x0, sharper)
    except TargetError:
        return ShardResult()


def _along(
    seen: Target, threat: Threat, x0: Inputs, x: Inputs, y: Labels, aims: Labels | None
) -> tuple[Inputs, Float[Tensor, " batch"]]:
    """(the last point that served in a bisection from each witness to its example, its distance; inf if refused)."""
    column = (-1, *(1,) * (x.dim() - 1))
    low, high = x.new_zeros(len(x)), x.new_ones(len(x))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        hit = decides(seen, torch.lerp(x0, x, middle.reshape(column)), y, aims)
        high, low = middle.where(hit, high), low.where(hit, middle)
    near = torch.lerp(x0, x, high.reshape(column))
    broken, distance = judge(seen, threat.set, x0, near, y, aims)
    return near, distance.where(broken, torch.inf)


def _outcome(
    target: Target, witnesses: Sequence[Witness], nearest: _Nearest, x0: Inputs, rows: Sequence[int]
) -> ShardResult:
    """The sharper ones as evidence, each under the name of who broke the example."""
    if not rows:
        return ShardResult()
    x = nearest.x[rows]
    return ShardResult(
        [
            Witness(witnesses[row].item, witnesses[row].engine, float(nearest.distance[row]), i, *said)
            for i, (row, said) in enumerate(zip(rows, opinion(target, x), strict=True))
        ],
        tensors={"x": x, "x0": x0[rows]},
    )
