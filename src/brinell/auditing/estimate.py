"""What a plan would cost at most, before it runs."""

import time
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from brinell.access import Access
from brinell.auditing.drive import build
from brinell.auditing.plan import Plan, Stage
from brinell.auditing.preflight import seconds_per_row
from brinell.data import Dataset
from brinell.errors import CannotRun
from brinell.evasion import Attack, attack
from brinell.targets import Target
from brinell.targets import target as make_target
from brinell.threat import Linf, Threat
from brinell.types import Inputs, Logits
from brinell.verify import Graph, Verifier, margins, trace


@final
@dataclass(frozen=True)
class Cost:
    """One stage at its worst: every example survives it at every radius. rows: forward rows. seconds: of one core."""

    stage: Stage
    rows: int
    seconds: float


def estimate(plan: Plan, target: Target, data: Dataset, radii: int) -> list[Cost]:
    """Attacks by the rows they may ask and a measured row's time, proofs by timing one on a single example."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        forward, gradient = seconds_per_row(target, data)
        costs = []
        graph: Graph | None = None
        for stage in plan.stages:
            engine = build(stage)
            asked = len(data) * (1 if stage.engine == "Clean" else radii)
            if isinstance(engine, Attack):
                rows, gradients = _rows_at_most(engine, target, data)
                seconds = (rows - gradients) * forward + (gradients * gradient if gradients else 0.0)
                costs.append(Cost(stage, asked * rows, asked * seconds))
            elif target.access >= Access.WEIGHTS:
                try:
                    graph = graph or trace(target.module(), data.x[:1])
                except CannotRun:
                    continue
                costs.append(Cost(stage, asked, asked * _proof_seconds(engine, graph, data)))
        return costs
    finally:
        torch.set_num_threads(threads)


def _rows_at_most(engine: Attack, target: Target, data: Dataset) -> tuple[int, int]:
    """(forward rows, of which with a gradient) an example can cost: counted on a model that never yields."""
    few = data.take(1, seed=0)
    classes = target.scores(few.x).shape[1] if target.access >= Access.SCORES else 2
    stub = make_target(_Unyielding(classes), box=target.box)
    found = attack(engine, stub, few.x, torch.zeros_like(few.y), Threat(Linf(1e-3 * _span(data))))
    return int(found.queries), int(found.gradients)


@final
class _Unyielding(nn.Module):
    """Class 0 always leads; every input has a gradient."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Inputs) -> Logits:
        rivals = torch.arange(1, self.classes, device=x.device) * x.flatten(1).mean(1, keepdim=True).tanh()
        return torch.cat([torch.full_like(rivals[:, :1], 2.0 * self.classes), rivals], 1)


def _span(data: Dataset) -> float:
    return float(data.x.max() - data.x.min()) or 1.0


def _proof_seconds(verifier: Verifier, graph: Graph, data: Dataset) -> float:
    """One example in a batch of four, at a radius of a hundredth of the inputs' span."""
    few = data.take(4, seed=0)
    spec = margins(few.y, graph.classes)
    start = time.perf_counter()
    verifier(graph, few.x, Linf(_span(data) / 100), spec)
    return (time.perf_counter() - start) / len(few)
