"""NES: projected ascent along a gradient estimated from scores with antithetic Gaussian directions.

Source: Ilyas et al. 2018, arXiv:1804.08598, algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from brinell.arguments import Count, Positive
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import cross_entropy
from brinell.evasion.score.estimate import estimates, gaussian
from brinell.threat import Access


@final
@dataclass(frozen=True)
class NES(Attack):
    """Natural evolution strategies (Ilyas et al. 2018).

    steps: moves; each costs 2 * pairs queries, the last fewer where the budget ends. smoothing: the standard
    deviation of the directions (sigma), as a share of what each feature may move where all move alike: of the radius
    in linf, of the radius over sqrt(d) in l2. step: of each move, as a share of the radius. Pairs and step are those
    of the authors' code, whose step is 0.01 at a radius of 0.05; its momentum and its search for a smaller step on a
    plateau are left out. Its sigma is 0.001 of the box, which sees nothing where a network masks its gradients; a
    third of the radius sees past that, and no less elsewhere. The points of the estimate are judged, so the iterate
    itself is asked about only at the end.
    """

    steps: Count = 500
    pairs: Count = 25
    smoothing: Positive = 0.3
    step: Positive = 0.2
    objective: Objective = cross_entropy
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        step = self.step * finite_radius(self, hunt.set)
        hunt.begin()
        for g in estimates(hunt, self.objective, gaussian, self.smoothing, self.steps, self.pairs):
            hunt.move(hunt.x + step * hunt.set.steepest(g))
