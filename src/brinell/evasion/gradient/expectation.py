"""Expectation over transformation: the mean gradient over random views of the input, or passes of a random target.

Source: Athalye et al. 2018, arXiv:1707.07397, section 2.1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch

from brinell.arguments import Count
from brinell.evasion.gradient.modifier import Ask, Modifier, Place, averaged
from brinell.evasion.hunt import Hunt
from brinell.types import Inputs, Scores

View = Callable[[Inputs, torch.Generator], Inputs]
"""A random transformation of a batch: differentiable by it, its chance from the generator, shapes kept."""


@final
@dataclass(frozen=True)
class EOT(Modifier):
    """The gradient of the expected objective, estimated from `draws` draws; each costs a gradient.

    view: the transformation; None asks about the same input again and again, for a target with chance of its own. A
    point counts as broken once a single draw says so.
    """

    draws: Count = 10
    view: View | None = None

    def begin(self, hunt: Hunt, ask: Ask) -> Ask:
        def expected(place: Place) -> tuple[Scores, Inputs]:
            return averaged(hunt, ask, [self._seen(place, hunt.rng)] * self.draws)

        return expected

    def _seen(self, place: Place, rng: torch.Generator) -> Place:
        view = self.view
        return place if view is None else lambda x: view(place(x), rng)
