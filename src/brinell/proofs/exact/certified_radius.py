"""The largest radius that a verifier certifies, example by example, by bisection.

Source: Weng et al. 2018 (Fast-Lin), arXiv:1804.09699, who bound the smallest adversarial perturbation so.
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
"""Rungs below the first at which a search gives up."""

FAR = 1e9
"""The largest radius that is tried."""

NONE = 2**40
"""The rung of an example without a certificate."""


@final
@dataclass(frozen=True, kw_only=True)
class CertifiedRadius(Exact[Graph]):
    """Bisection over a ladder of radii, each smaller than the last by the factor 1 + tolerance.

    It starts at a first-order estimate of the boundary, and gallops from there; examples on one rung are verified
    together. The certified radius is at most one rung below the verifier's, if the verifier is monotone in the radius.
    It finds no witnesses. tolerance: in (0, 1]. soundness: that the verifier's certificate must have at a radius.
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
        largest = min(perturbation.radius, _diameter(perturbation, x0))
        ladder = _Ladder.of(lead, guess / 2, largest, 1 + self.tolerance)
        while len(rows := ladder.open()):
            for rung in ladder.rung[rows].unique().tolist():
                checkpoint()
                here = rows[ladder.rung[rows] == rung]
                ball = perturbation.resized(ladder.radius(rung))
                bounds = self.verifier(model, x0[here], ball, spec[here], checkpoint)
                graded = with_soundness(self.verifier, model, x0[here], ball, spec[here], bounds, checkpoint)
                graded = [(bound if level.covers(self.soundness) else 0.0, level) for bound, level in graded]
                ladder.note(here, graded)
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
    """The state of the bisection of each example; rung k is the radius ratio^-k, at most `most`.

    The rungs do not depend on the batch. rung: to try next. lowest: where the search gives up. proved: the rung of the
    largest certified radius. failed: the next larger radius that is not. stride: of the gallop. fell: whether some
    proof failed. margin: the lead at the certified radius, before that at x0. soundness: of the certificate there.
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
        """lead: at x0. start: the radius to try first. most: the largest radius to try."""
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
        """The examples with a rung left to try; none where the label does not lead at x0."""
        left = (self.proved != self.failed + 1) & (self.rung <= self.lowest) & (self.margin > 0)
        return (left & (self.most > 0)).nonzero().flatten()

    def note(self, rows: Int64[Tensor, " some"], grades: Sequence[tuple[float, Soundness]]) -> None:
        """Record (bound, soundness) of these examples at their rungs, and choose the next rung of each."""
        bounds = torch.tensor([bound for bound, _ in grades], dtype=torch.float64)
        won = bounds > 0
        for row, (bound, soundness) in zip(rows.tolist(), grades, strict=True):
            if bound > 0:
                self.soundness[row] = soundness

        certified = rows[won]
        self.proved[certified] = self.rung[certified]
        self.margin[certified] = bounds[won]
        refused = rows[~won]
        self.failed[refused] = self.rung[refused]
        self.fell[refused] = True

        # Gallop upward until a proof fails, downward until one succeeds; then bisect.
        proved = self.proved[rows]
        failed = self.failed[rows]
        stride = self.stride[rows]
        higher = torch.where(self.fell[rows], (proved + failed) // 2, torch.maximum(proved - stride, failed + 1))
        self.rung[rows] = torch.where(proved == NONE, failed + stride, higher)
        self.stride[rows] = 2 * stride

    def certified(self) -> Scores:
        """The certified radius; 0 where only x0 itself is known to be correct; -inf where it is not."""
        radii = (self.ratio ** -self.proved.double()).clamp(max=self.most)
        return radii.where(self.proved != NONE, torch.where(self.margin > 0, 0.0, -torch.inf))


def _diameter(perturbation: PerturbationSet, x0: Inputs) -> float:
    """The diameter of the box: no perturbation is larger."""
    if not (len(x0) and perturbation.box.bounded):
        return math.inf
    low, high = (limit.expand(x0[:1].shape) for limit in perturbation.box.limits(x0))
    return float(perturbation.distance(low, high).max())


def _first_order(model: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec) -> tuple[Scores, Scores]:
    """(the least lead at x0, a first-order estimate of the distance to the decision boundary), float64."""
    with torch.enable_grad():
        x = x0.detach().to("cpu", torch.float64).requires_grad_()
        leads = (spec.cpu() @ model(x).unsqueeze(2)).squeeze(2)
        least = leads.min(1)
        (g,) = torch.autograd.grad(least.values.sum(), x)
    slope = (g * perturbation.steepest(g)).flatten(1).sum(1)
    lead = least.values.detach()
    return lead, (lead.clamp(min=0) / slope).nan_to_num(0.0, FAR, 0.0).clamp(max=FAR)
