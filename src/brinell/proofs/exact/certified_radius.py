"""The largest radius that a verifier proves, example by example, by bisection.

Source: Weng et al. 2018 (Fast-Lin), arXiv:1804.09699, whose lower bounds on the smallest perturbation are found so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from jaxtyping import Int64
from torch import Tensor

from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs.exact.exact import Exact, Nearest
from brinell.proofs.network.graph import Graph
from brinell.proofs.query.verifier import Checkpoint, Spec, Verifier, margins, nothing
from brinell.proofs.relaxation.arithmetic import with_soundness
from brinell.proofs.verifiers.alpha_crown import AlphaCROWN
from brinell.threat import PerturbationSet
from brinell.types import Inputs, Labels, Logits, Mask, Scores

RUNGS = 200
"""How far below the first rung a search gives up."""

FAR = 1e9
"""No radius above is tried."""

NONE = 2**40
"""The rung of what was not proved on any."""


@final
@dataclass(frozen=True, kw_only=True)
class CertifiedRadius(Exact[Graph]):
    """Bisection over the rungs of a ladder, each 1 + tolerance below the last; those on one rung are proved together.

    It begins where the network's gradient puts the boundary, and gallops from there. What it certifies is at most a
    rung short of what the verifier can; monotone verifiers are assumed, others may lose more. It finds no witnesses.
    A rung is proved where the verifier's certificate there is at least of the level `soundness`.
    """

    reads: ClassVar[type] = Graph
    sets: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    verifier: Verifier = AlphaCROWN(precision="float32")
    tolerance: float = 0.05
    soundness: Soundness = Soundness.REAL

    def __post_init__(self) -> None:
        if not 0 < self.tolerance <= 1:
            raise UsageError(f"tolerance is {self.tolerance}; it must be more than 0 and at most 1")

    def demanding(self, soundness: Soundness) -> "CertifiedRadius":
        return self if self.soundness.covers(soundness) else replace(self, soundness=soundness)

    def __call__(
        self,
        model: Graph,
        x0: Inputs,
        y: Labels,
        perturbation: PerturbationSet,
        aims: Labels | None = None,
        ask: Callable[[Inputs], Logits] | None = None,
        checkpoint: Checkpoint = nothing,
    ) -> Nearest:
        self.check(perturbation)
        spec = margins(y, model.classes, aims)
        lead, guess = _first_order(model, x0, perturbation, spec)
        ladder = _Ladder.of(lead, guess / 2, min(perturbation.radius, _diameter(perturbation, x0)), 1 + self.tolerance)
        while len(rows := ladder.open()):
            for rung in ladder.rung[rows].unique().tolist():
                checkpoint()
                here = rows[ladder.rung[rows] == rung]
                around = model, x0[here], perturbation.resized(ladder.radius(rung)), spec[here]
                grades = with_soundness(self.verifier, *around, self.verifier(*around, checkpoint), checkpoint)
                ladder.note(here, [(bound if level.covers(self.soundness) else 0.0, level) for bound, level in grades])
        return Nearest(
            x=x0,
            distance=torch.full((len(x0),), torch.inf, dtype=torch.float64, device=x0.device),
            certified=ladder.certified().to(x0.device),
            margin=ladder.margin.to(x0.device),
            asked=torch.zeros(len(x0), dtype=torch.int64, device=x0.device),
            soundness=tuple(ladder.soundness),
        )


@final
@dataclass(eq=False)
class _Ladder:
    """Of each example: the rung to be tried next, the highest proved, the lowest above it that is out of reach.

    Rung k is at the radius ratio^-k, and none above `most`, so an example has the same rungs in any company. fell:
    whether a proof failed, and not only the top is reached. margin: the lead at the rung that was proved, and before
    that at x0. soundness: of the proof there.
    """

    most: float
    ratio: float
    rung: Int64[Tensor, " batch"]
    lowest: Int64[Tensor, " batch"]
    proved: Int64[Tensor, " batch"]
    failed: Int64[Tensor, " batch"]
    stride: Int64[Tensor, " batch"]
    fell: Mask
    margin: Scores
    soundness: list[Soundness]

    @classmethod
    def of(cls, lead: Scores, start: Scores, most: float, ratio: float) -> "_Ladder":
        """lead: at x0. start: the radius to begin at. most: the largest radius asked about."""
        top = math.floor(-math.log(min(max(most, 1e-300), FAR)) / math.log(ratio))
        rung = (-start.clamp(min=1e-300).log() / math.log(ratio)).ceil().long().clamp(min=top)
        same = torch.ones_like(rung)
        return cls(
            most=most,
            ratio=ratio,
            rung=rung,
            lowest=rung + RUNGS,
            proved=NONE * same,
            failed=(top - 1) * same,
            stride=max(1, round(0.5 / (ratio - 1))) * same,
            fell=torch.zeros_like(rung, dtype=torch.bool),
            margin=lead,
            soundness=[Soundness.REAL] * len(lead),
        )

    def radius(self, rung: int) -> float:
        return float(min(self.most, self.ratio**-rung))

    def open(self) -> Int64[Tensor, " open"]:
        """The examples with a rung left to try. One whose label does not lead at x0 has none."""
        left = (self.proved != self.failed + 1) & (self.rung <= self.lowest) & (self.margin > 0)
        return (left & (self.most > 0)).nonzero().flatten()

    def note(self, rows: Int64[Tensor, " some"], grades: Sequence[tuple[float, Soundness]]) -> None:
        """What was shown on the rung of these examples; each goes on to its next."""
        bounds = torch.tensor([bound for bound, _ in grades], dtype=torch.float64)
        won = bounds > 0
        for row, (bound, soundness) in zip(rows.tolist(), grades, strict=True):
            if bound > 0:
                self.soundness[row] = soundness
        up, down = rows[won], rows[~won]
        self.proved[up], self.margin[up] = self.rung[up], bounds[won]
        self.failed[down], self.fell[down] = self.rung[down], True
        proved, failed, stride = self.proved[rows], self.failed[rows], self.stride[rows]
        higher = torch.where(self.fell[rows], (proved + failed) // 2, torch.maximum(proved - stride, failed + 1))
        self.rung[rows] = torch.where(proved == NONE, failed + stride, higher)
        self.stride[rows] = 2 * stride

    def certified(self) -> Scores:
        """The radius proved; 0 where only x0 itself is known to be right; -inf where it is not."""
        radii = (self.ratio ** -self.proved.double()).clamp(max=self.most)
        return radii.where(self.proved != NONE, torch.where(self.margin > 0, 0.0, -torch.inf))


def _diameter(perturbation: PerturbationSet, x0: Inputs) -> float:
    """Of the box: no change is larger."""
    if not (len(x0) and perturbation.box.bounded):
        return math.inf
    low, high = (limit.expand(x0[:1].shape) for limit in perturbation.box.limits(x0))
    return float(perturbation.distance(low, high).max())


def _first_order(model: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec) -> tuple[Scores, Scores]:
    """(the least lead at x0, how far a linear network with these gradients would have its boundary), float64."""
    with torch.enable_grad():
        x = x0.detach().to("cpu", torch.float64).requires_grad_()
        leads = (spec.cpu() @ model(x).unsqueeze(2)).squeeze(2)
        least = leads.min(1)
        (g,) = torch.autograd.grad(least.values.sum(), x)
    slope = (g * perturbation.steepest(g)).flatten(1).sum(1)
    lead = least.values.detach()
    return lead, (lead.clamp(min=0) / slope).nan_to_num(0.0, FAR, 0.0).clamp(max=FAR)
