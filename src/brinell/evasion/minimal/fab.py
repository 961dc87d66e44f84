"""FAB: walk along the decision boundary, drawn toward the clean example.

Source: Croce & Hein 2020, arXiv:1907.02044, algorithm 1; targeted runs as in AutoAttack, arXiv:2003.01690.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch

from brinell.arguments import AtLeast, Count, Probability
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.ascent import gradient_ascent
from brinell.evasion.minimal.final_search import final_search
from brinell.evasion.minimal.nearest import NearestAdversarial
from brinell.evasion.minimal.rivals import Rivals
from brinell.evasion.objective import margin
from brinell.evasion.rival import runs
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class FAB(Attack):
    """Fast adaptive boundary attack (Croce & Hein 2020), for l1, l2 and linf.

    steps: linearisations a run. restarts: runs, all but the first from a random start. targets: k makes each restart k
    runs of one gradient a step, aimed in turn at the k wrong classes that score highest at x0; None weighs every wrong
    class at each step, at a gradient each, as the paper does. Under a goal with an aim of its own every run heads
    there. bias: the most that x0 draws (alpha_max). overshoot: eta. backward: the share of the way from x0 kept after a
    hit (beta). search: queries of the last search between x0 and the nearest point found. ascent: gradients of a
    last ascent on the margin at a finite radius, from that point projected into the set; an addition to the paper.
    """

    steps: Count = 100
    restarts: Count = 1
    targets: Count | None = 3
    bias: Probability = 0.1
    overshoot: Annotated[float, AtLeast(1)] = 1.05
    backward: Probability = 0.9
    search: Annotated[int, AtLeast(0)] = 3
    ascent: Annotated[int, AtLeast(0)] = 0
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        nearest = NearestAdversarial(hunt)
        for restart in runs(hunt, self.restarts, self.targets):
            if restart:
                hunt.move_in_box(_random_start(hunt, nearest.reach(hunt)))
            self._walk(hunt, nearest)
        final_search(hunt, self.search, nearest)
        gradient_ascent(hunt, self.ascent, nearest)

    def _walk(self, hunt: Hunt, nearest: NearestAdversarial) -> None:
        rivals = hunt.carry(Rivals.of(hunt))
        for _ in hunt.steps(self.steps):
            lead, w = _nearest_face(hunt, rivals)
            nearest.note(hunt)
            x0 = hunt.x0
            x = hunt.x

            # Algorithm 1's delta and delta_orig: the ways from x and from x0 to the plane <w, z - x> = -lead.
            delta = hunt.set.toward_plane(x, w, -lead) - x
            delta0 = hunt.set.toward_plane(x0, w, (w * (x - x0)).flatten(1).sum(1) - lead) - x0

            # alpha = min(|delta| / (|delta| + |delta0|), alpha_max).
            near, far = (hunt.set.distance(x, x + d).clamp(min=1e-8) for d in (delta, delta0))
            alpha = over_features((near / (near + far)).clamp(max=self.bias).to(x.dtype), x)

            # (1 - alpha) (x + eta delta) + alpha (x0 + eta delta0).
            from_x = self.overshoot * delta
            from_x0 = x0 - x + self.overshoot * delta0
            hunt.move_in_box(x + (1 - alpha) * from_x + alpha * from_x0)
            hunt.query()
            nearest.note(hunt)

            # The backward step after a hit: x0 + beta (x - x0).
            back = hunt.x0 + self.backward * (hunt.x - hunt.x0)
            hunt.move_in_box(torch.where(over_features(hunt.hit, back), back, hunt.x))
        nearest.note_last(hunt)


def _nearest_face(hunt: Hunt, rivals: Rivals) -> tuple[Scores, Inputs]:
    """(lead of a rival over the label, its gradient) at x: of the aim, or of the class whose plane is nearest."""
    if hunt.aim is not None:
        return hunt.gradient(margin)
    lead, apart = rivals.ask(hunt)
    flat = apart.flatten(0, 1)
    dual = (flat * hunt.set.steepest(flat)).flatten(1).sum(1).reshape(lead.shape)
    nearest = (lead.abs() / dual.clamp(min=1e-12)).argmin(1)
    rows = torch.arange(len(hunt), device=hunt.x.device)
    return lead[rows, nearest], apart[rows, nearest]


def _random_start(hunt: Hunt, reach: Scores) -> Inputs:
    """Half as far from x0 as the nearest adversarial point, whatever the radius; the length of normal noise before."""
    noise = torch.randn(hunt.x0.shape, dtype=hunt.x0.dtype, device=hunt.x0.device, generator=hunt.rng)
    length = hunt.set.distance(hunt.x0, hunt.x0 + noise)
    half = torch.where(reach.isfinite(), reach / 2, length)
    return hunt.x0 + over_features((half / length).to(noise.dtype), noise) * noise
