"""What a plan would cost at most, before it runs."""

import time
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from brinell.access import Access
from brinell.auditing.plan import LOOK, Plan, Stage
from brinell.data import Dataset
from brinell.errors import CannotRun
from brinell.evasion import attack
from brinell.proofs import Graph, Verifier, margins
from brinell.questions.evasion.models import NO_VOTE, build, graph_of, model_for
from brinell.questions.evasion.preflight import answered, seconds_per_row
from brinell.questions.evasion.settle import settle
from brinell.targets import Smoothed, Target
from brinell.targets import target as make_target
from brinell.threat import REALS, PerturbationSet, Threat
from brinell.types import Inputs, Logits


@final
@dataclass(frozen=True)
class Cost:
    """One stage at its worst: every example survives it at every radius. rows: forward rows. seconds: of one core.

    seconds is None for complete verification, whose end nobody can foresee: the stage's condition bounds it.
    left_out: why the stage will not run, and costs nothing.
    """

    stage: Stage
    rows: int = 0
    seconds: float | None = 0.0
    left_out: str | None = None


def estimate(plan: Plan, target: Target, data: Dataset, perturbation: PerturbationSet, radii: int) -> list[Cost]:
    """Attacks by the rows they may ask and a measured row's time, proofs by timing one on a few examples."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x = answered(target, data)
        size = _small(perturbation, data)
        graph = graph_of(target, x)
        times = seconds_per_row(target, x)
        classes = target.scores(x[:1]).shape[1] if target.access >= Access.SCORES else 2
        costs = []
        fit = plan.for_access(target.access, target.max_access, perturbation.name).stages
        for stage in plan.stages:
            most = len(data) if stage.sample is None else min(stage.sample, len(data))
            asked = most * (1 if stage.label == LOOK or stage.infinite else radii)
            if stage.sets and perturbation.name not in stage.sets:
                continue
            if stage.beyond(target.access, target.max_access):
                cost = Cost(stage, left_out=f"only {target.access.name} are seen")
            elif stage not in fit:
                continue
            elif stage.row.sets and perturbation.name not in stage.row.sets:
                cost = Cost(stage, left_out=f"it answers for {' and '.join(stage.row.sets)} only")
            elif stage.row.kind == "attack":
                cost = _attack(stage, classes, x, size, asked, times)
            elif stage.row.kind == "exact":
                cost = _exact(stage, target, x, size, asked)
            elif stage.row.kind == "vote":
                cost = _vote(stage, target, asked, times[0])
            elif isinstance(graph, str):
                cost = Cost(stage, left_out=graph)
            elif stage.within is not None:
                cost = Cost(stage, asked, None)
            else:
                cost = Cost(stage, asked, asked * _proof_seconds(build(stage), graph, x, size))
            costs.append(cost)
        return costs
    finally:
        torch.set_num_threads(threads)


def _attack(
    stage: Stage, classes: int, x: Inputs, perturbation: PerturbationSet, asked: int, times: tuple[float, float]
) -> Cost:
    """By the rows an example can cost: counted on a model that never yields."""
    stub = make_target(_Unyielding(classes), box=REALS)
    found = attack(build(stage), stub, x[:1], torch.zeros(1, dtype=torch.int64), Threat(perturbation))
    rows, gradients = int(found.queries), int(found.gradients)
    forward, gradient = times
    return Cost(
        stage, asked * rows, asked * ((rows - gradients) * forward + (gradients * gradient if gradients else 0.0))
    )


def _exact(stage: Stage, target: Target, x: Inputs, perturbation: PerturbationSet, asked: int) -> Cost:
    """By timing it on four examples."""
    engine = build(stage)
    try:
        model = model_for(engine, target, x)
    except CannotRun as error:
        return Cost(stage, left_out=str(error))
    few, y = x[:4], target.labels(x[:4])
    start = time.perf_counter()
    settle(engine, model, target, few, y, Threat(perturbation))
    return Cost(stage, asked, asked * (time.perf_counter() - start) / len(few))


def _vote(stage: Stage, target: Target, asked: int, seconds: float) -> Cost:
    """By the draws an example can cost; a row of the smoothed target is as many of the base target as it has votes."""
    if not isinstance(target.backend, Smoothed):
        return Cost(stage, left_out=NO_VOTE)
    smoothing = build(stage)
    rows = asked * (smoothing.draws + smoothing.select)
    return Cost(stage, rows, rows * seconds / target.backend.votes)


def _small(perturbation: PerturbationSet, data: Dataset) -> PerturbationSet:
    """The set at a hundredth of the inputs' span."""
    span = float(data.x.max() - data.x.min()) or 1.0
    return perturbation.within(REALS).resized(span / 100)


def _proof_seconds(verifier: Verifier, graph: Graph, x: Inputs, perturbation: PerturbationSet) -> float:
    """Seconds an example, in a batch of four."""
    few = x[:4]
    spec = margins(torch.zeros(len(few), dtype=torch.int64), graph.classes)
    start = time.perf_counter()
    verifier(graph, few, perturbation, spec)
    return (time.perf_counter() - start) / len(few)


@final
class _Unyielding(nn.Module):
    """Class 0 always leads; every input has a gradient."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Inputs) -> Logits:
        rivals = torch.arange(1, self.classes, device=x.device) * x.flatten(1).mean(1, keepdim=True).tanh()
        return torch.cat([torch.full_like(rivals[:, :1], 2.0 * self.classes), rivals], 1)
