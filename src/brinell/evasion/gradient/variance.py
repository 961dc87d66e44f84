"""Variance tuning: the gradient is corrected by what it was around the last point.

Source: Wang and He 2021, arXiv:2103.15571, eq. 4 and 5, algorithm 1.
"""

from dataclasses import dataclass
from typing import final

import torch

from brinell.arguments import Count, Positive
from brinell.evasion.attack import finite_radius
from brinell.evasion.gradient.modifier import Ask, Modifier, Place, averaged
from brinell.evasion.hunt import Hunt
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class VarianceTuned(Modifier):
    """The gradient, plus the mean gradient around the last point less the gradient there.

    neighbours: random points around each, the paper's N; each costs a gradient. spread: how far they lie, in radii of
    the set, the paper's beta. They are drawn as random starts are, so that where x0 is at an end of the box they lie to
    one side of the point.
    """

    neighbours: Count = 20
    spread: Positive = 1.5

    def begin(self, hunt: Hunt, ask: Ask) -> Ask:
        finite_radius(self, hunt.set)
        # The variance at the last point; the gradient and value at this one.
        memory = hunt.carry(
            variance=torch.zeros_like(hunt.x), gradient=torch.zeros_like(hunt.x), value=hunt.x.new_zeros(len(hunt))
        )

        def tuned(place: Place) -> tuple[Scores, Inputs]:
            def near(x: Inputs) -> Inputs:
                return place(x) + self.spread * (hunt.set.sample(hunt.x0, hunt.rng) - hunt.x0)

            memory.value, memory.gradient = ask(place)
            _, around = averaged(hunt, ask, [near] * self.neighbours)
            corrected = memory.gradient + memory.variance
            memory.variance = around - memory.gradient
            return memory.value, corrected

        return tuned
