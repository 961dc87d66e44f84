"""One attack alone over a data set: what it broke, how far it had to go, and what it asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from pydantic import BaseModel, ConfigDict, Field

from brinell.auditing.plan import Stage
from brinell.auditing.work import seed_of
from brinell.data import Dataset
from brinell.errors import CannotRun, UsageError
from brinell.evasion import Found
from brinell.evasion.attack import attack
from brinell.questions.evasion.models import build, model_for
from brinell.questions.evasion.settle import settle
from brinell.questions.evasion.summary import AccuracyCurve, Fraction
from brinell.targets import Target, TargetError
from brinell.threat import Threat
from brinell.threat.radius import spelled
from brinell.types import Inputs, Labels

Status = Literal["complete", "interrupted"]

BATCH = 128
"""Examples attacked together; an interruption loses those in flight."""


class AttackSummary(BaseModel):
    """The figures of one attack. Quantiles are (lower quartile, median, upper quartile), None where none was broken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    status: Status
    threat: str
    n: int = Field(description="examples attacked")
    clean: Fraction = Field(description="accuracy on the examples as they are")
    broken: Fraction = Field(description="fraction broken, those misclassified as they are among them")
    success: Fraction = Field(description="fraction broken of those that were right")
    distance: tuple[float, float, float] | None = Field(description="of the witnesses of those that were right")
    queries: tuple[float, float, float] | None = Field(description="forward rows, of those that were right")
    gradients: tuple[float, float, float] | None = Field(description="gradient rows, of those that were right")
    curve: AccuracyCurve | None = Field(default=None, description="where the smallest perturbations were sought")


@final
@dataclass(frozen=True)
class AttackRun:
    """What an attack found on the first of the examples, as far as it came, and the figures."""

    data: Dataset
    found: Found
    figures: AttackSummary


def alone(
    stage: Stage,
    target: Target,
    data: Dataset,
    threat: Threat,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda broken, done: None,
    label: str = "",
) -> AttackRun:
    """Run the attack of `stage` on every example, a batch at a time; Ctrl-C ends it with the batches that are done.

    threat: of an infinite radius for the smallest perturbations. on_progress gets the examples broken and done so
    far. label: the radius as it was written. Raises UsageError where the attack does not fit, CannotRun where the model
    raises.
    """
    row = stage.row
    if row.kind in ("proof", "vote"):
        raise UsageError(f"{stage.engine} is a proof; give an attack, or a plan to brinell audit")
    if row.sets and threat.set.name not in row.sets:
        raise UsageError(f"{stage.engine} answers for {' and '.join(row.sets)} only, and the set is {threat.set.name}")
    strike, parts = _striking(stage, target, data.x, threat), []
    status: Status = "complete"
    try:
        for number, rows in enumerate(torch.arange(len(data)).split(BATCH)):
            own = seed_of(seed, stage.label, number)
            parts.append(strike(data.x[rows], data.y[rows], own))
            on_progress(sum(int(p.broken.sum()) for p in parts), int(rows[-1]) + 1)
    except KeyboardInterrupt:
        if not parts:
            raise
        status = "interrupted"
    except TargetError as error:
        raise CannotRun(f"the model raises: {error}; see which examples it is with brinell check") from error
    found = _joined(parts)
    return AttackRun(data, found, _figures(stage, threat.within(target.box), found, status, label))


def _striking(stage: Stage, target: Target, x: Inputs, threat: Threat) -> Callable[[Inputs, Labels, int], Found]:
    """What is done with a batch: (x, y, seed) to what is found."""
    engine = build(stage)
    if stage.row.kind == "attack":
        return lambda x, y, seed: attack(engine, target, x, y, threat, seed)
    model, within = model_for(engine, target, x), threat.within(target.box)
    return lambda x, y, _: settle(engine, model, target, x, y, within)[0]


def _joined(parts: Sequence[Found]) -> Found:
    names = ("x", "broken", "distance", "queries", "gradients")
    return Found(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _figures(stage: Stage, threat: Threat, found: Found, status: Status, label: str) -> AttackSummary:
    n, wrong = len(found.broken), found.broken & (found.distance == 0)
    tried = ~wrong
    won = tried & found.broken
    smallest = threat.set.radius == float("inf")
    return AttackSummary(
        engine=stage.label,
        status=status,
        threat=f"{threat.set.name} {label or spelled(threat.set.radius)}, {threat.goal.label}",
        n=n,
        clean=_share(int(tried.sum()), n),
        broken=_share(int(found.broken.sum()), n),
        success=_share(int(won.sum()), int(tried.sum())),
        distance=_quartiles(found.distance[won]),
        queries=_quartiles(found.queries[tried]),
        gradients=_quartiles(found.gradients[tried]),
        curve=AccuracyCurve(asked=n, distances=tuple(found.distance[found.broken].sort().values.tolist()))
        if smallest
        else None,
    )


def _share(count: int, n: int) -> Fraction:
    return count / n if n else None


def _quartiles(values: torch.Tensor) -> tuple[float, float, float] | None:
    if not len(values):
        return None
    low, median, high = torch.quantile(values.double(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return low, median, high
