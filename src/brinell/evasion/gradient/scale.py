"""Scale invariance: the mean gradient over darker and darker copies of the input.

Source: Lin et al. 2020, arXiv:1908.06281, section 3.3.
"""

from dataclasses import dataclass
from typing import final

from brinell.arguments import Count
from brinell.evasion.gradient.modifier import Ask, Modifier, Place, averaged
from brinell.evasion.hunt import Hunt
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class ScaleInvariant(Modifier):
    """The gradient of the mean objective over x, x/2, x/4, ...

    copies: the paper's m, the input itself among them; each costs a gradient.
    """

    copies: Count = 5

    def begin(self, hunt: Hunt, ask: Ask) -> Ask:
        def scaled(place: Place) -> tuple[Scores, Inputs]:
            return averaged(hunt, ask, [place, *(_halved(place, k) for k in range(1, self.copies))])

        return scaled


def _halved(place: Place, times: int) -> Place:
    return lambda x: place(x) / 2**times
