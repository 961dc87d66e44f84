"""Zonotopes: every node as a linear function of the input and of noise symbols, each anywhere in [-1, 1].

Sources: Gehr et al. 2018 (AI2), doi:10.1109/SP.2018.00058; the nonlinearities as in Singh et al. 2018, Fast and
Effective Robustness Certification (DeepZ), theorem 3.1; hybrid zonotopes, whose newest errors are a box, as in Mirman
et al. 2018, Differentiable Abstract Interpretation for Provably Robust Neural Networks (DiffAI).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor

from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Affine, Interval, TwoSided, Values
from brinell.proofs.query.problem import Problem, solve, sound
from brinell.proofs.query.substitution import substitute, written
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.forward import (
    ForwardBound,
    Slopes,
    in_parts,
    itself,
    largest,
    least,
    propagated,
    rounding_of,
    weighed,
)
from brinell.proofs.relaxation.network import Relaxation, elided
from brinell.threat import PerturbationSet
from brinell.types import Inputs

Symbols = Float64[Tensor, " batch symbols *shape"]
"""What each noise symbol adds to each value of a node."""


@final
@dataclass(frozen=True, kw_only=True)
class Zonotope(Verifier):
    """Two deviations from the papers: the input is not replaced by its hull, so that balls of every norm are bounded
    exactly at the input; and pre-activation bounds are intersected with intervals.

    symbols: how many new errors of each layer become noise symbols, the largest first; the rest becomes a box. None
    keeps all, as DeepZ does; 0 is the hybrid zonotope of DiffAI. memory: bytes, about, that it may take. Raises
    UsageError for symbols < 0.
    """

    symbols: int | None = None
    memory: int = 2**27
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __post_init__(self) -> None:
        if self.symbols is not None and self.symbols < 0:
            raise UsageError(f"symbols is {self.symbols}; it must be at least 0, or None to keep all")

    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, perturbation, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        shapes = [torch.Size(problem.graph.nodes[i].shape).numel() for i in problem.graph.nonlinearities]
        most = sum(shapes) if self.symbols is None else sum(min(self.symbols, size) for size in shapes)
        return in_parts(self._part, problem, most)

    def _part(self, problem: Problem) -> Margins:
        known = 0  # noise symbols so far, those of other branches of the network too

        def step(relaxation: TwoSided, zones: Sequence[Zone]) -> Zone:
            nonlocal known
            if isinstance(relaxation, Affine):
                return _affine(relaxation, zones)
            zone = self._nonlinear(problem, relaxation, zones[0], known)
            known = zone.noise.shape[1]
            return zone

        zero = torch.zeros_like(problem.x0)
        first = Zone(zero, itself(problem), zero.unsqueeze(1)[:, :0], zero)
        relaxed, zones, sizes = propagated(problem, "same", first, step)
        finished = _finished(problem, relaxed, zones, sizes)
        return sound(relaxed.intervals, torch.maximum(finished, elided(problem, relaxed)))

    def _nonlinear(self, problem: Problem, relaxation: TwoSided, zone: "Zone", known: int) -> "Zone":
        """The middle of the relaxation's two lines; half of the gap between them becomes new errors."""
        low, high = relaxation.forward_bounds((zone.slopes, zone.slopes), offset=False)
        left, right = relaxation.forward_bounds((zone.noise, zone.noise), offset=False)
        centre = zone.centre.unsqueeze(1)
        base, top = relaxation.forward_bounds(
            (centre - zone.box.unsqueeze(1), centre + zone.box.unsqueeze(1)), offset=True
        )
        apart = (high - low) / 2
        error = ((top - base) / 2).squeeze(1) + ((right - left) / 2).abs().sum(1)
        if apart.any():
            error = error - least(problem, -apart)
        error = error.where(error.isfinite(), torch.inf)
        new, box = self._new_symbols(error)
        noise = torch.cat((_padded((left + right) / 2, known), new), 1)
        return Zone(((base + top) / 2).squeeze(1), (low + high) / 2, noise, box)

    def _new_symbols(self, error: Values) -> tuple[Symbols, Values]:
        """(the largest errors, each a noise symbol of its own; the other errors, as a box)."""
        flat = error.flatten(1)
        count = int((flat > 0).sum(1).amax()) if len(flat) else 0
        kept, places = flat.topk(count if self.symbols is None else min(count, self.symbols))
        new = flat.new_zeros(*kept.shape, flat.shape[1]).scatter_(2, places.unsqueeze(2), kept.unsqueeze(2))
        box = flat.scatter(1, places, 0.0)
        return new.reshape(*kept.shape, *error.shape[1:]), box.reshape(error.shape)


@final
@dataclass(frozen=True, eq=False)
class Zone(ForwardBound):
    """centre + <slopes, x> + <noise, e> ± box, for an allowed input x and every noise symbol e in [-1, 1]."""

    centre: Values
    slopes: Slopes
    noise: Symbols
    box: Values

    @property
    def terms(self) -> int:
        return self.slopes.shape[1] + self.noise.shape[1] + 2

    def size(self, inputs: Values) -> Values:
        return self.centre.abs() + largest(inputs, self.slopes) + self.noise.abs().sum(1) + self.box

    def loosened(self, by: Values) -> "Zone":
        return replace(self, box=self.box + by)

    def limits(self, problem: Problem) -> Interval:
        around = self.noise.abs().sum(1) + self.box
        return self.centre + least(problem, self.slopes) - around, self.centre - least(problem, -self.slopes) + around


def _affine(operator: Affine, zones: Sequence[Zone]) -> Zone:
    """The image under an affine operator: exact, but for the box."""
    low, high = operator.interval(*((-zone.box, zone.box) for zone in zones))
    return Zone(
        operator.forward(*(zone.centre for zone in zones)),
        operator.linear(*(zone.slopes for zone in zones)),
        operator.linear(*_same_symbols([zone.noise for zone in zones])),
        (high - low) / 2,
    )


def _same_symbols(noises: Sequence[Symbols]) -> list[Symbols]:
    """All padded to the same number of symbols."""
    most = max(noise.shape[1] for noise in noises)
    return [_padded(noise, most) for noise in noises]


def _padded(noise: Symbols, count: int) -> Symbols:
    """Padded with zeros to so many symbols: a later symbol does not occur in an earlier node."""
    return F.pad(noise, (0, 0) * (noise.dim() - 2) + (0, count - noise.shape[1]))


def _finished(problem: Problem, relaxed: Relaxation, zones: Sequence[Zone], sizes: Sequence[Values]) -> Margins:
    """The specification's bounds, the affine layers after the last nonlinearities merged into it."""
    affine = {i: relaxation for i, relaxation in relaxed.relaxations.items() if isinstance(relaxation, Affine)}
    held, bounds = substitute(problem.graph, problem.graph.output, problem.spec, affine)
    rows = problem.spec.shape[:2]
    slopes = problem.spec.new_zeros(*rows, problem.x0[0].numel())
    noise = problem.spec.new_zeros(*rows, max((zones[i].noise.shape[1] for i in held), default=0))
    for i, functional in held.items():
        a = written(functional)
        zone = zones[i]
        slopes = slopes + weighed(a, zone.slopes)
        noise = noise + weighed(a, _padded(zone.noise, noise.shape[2]))
        bounds = bounds + (weighed(a, zone.centre.unsqueeze(1)) - weighed(a.abs(), zone.box.unsqueeze(1))).squeeze(2)
        bounds = bounds - rounding_of(a, sizes[i], zone.terms)
    return bounds + problem.least(slopes.reshape(*rows, *problem.x0.shape[1:])) - noise.abs().sum(2)
