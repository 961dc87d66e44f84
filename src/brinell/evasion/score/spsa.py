"""SPSA: Adam along a gradient estimated from scores with simultaneous perturbations of every feature.

Source: Uesato et al. 2018, arXiv:1802.05666, algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from brinell.arguments import Count, Positive
from brinell.evasion.adam import Adam
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import margin
from brinell.evasion.score.estimate import estimates, even, rademacher
from brinell.threat import Access
from brinell.threat.sets import over_features


@final
@dataclass(frozen=True)
class SPSA(Attack):
    """Simultaneous perturbation stochastic approximation (Uesato et al. 2018).

    steps: moves; each costs 2 * pairs queries, the last fewer where the budget ends. smoothing: how far each
    feature is moved to measure (delta); step: Adam's (alpha). Both are shares of what each feature may move where all
    move alike: of the radius in linf, of the radius over sqrt(d) in l2. The paper has 0.01 of the box for both, at
    radii of about 0.03; at 0.3 such steps reach no corner of the ball, and at 0.003 each leaves it. Points of an
    estimate are drawn into the set, and so can be witnesses.
    """

    steps: Count = 500
    pairs: Count = 25
    smoothing: Positive = 0.3
    step: Positive = 0.4
    objective: Objective = margin
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        finite_radius(self, hunt.set)
        hunt.begin()
        adam = hunt.carry(Adam.none(hunt.x))
        # Of a step, in input units.
        length = hunt.carry(step=self.step * even(hunt))
        for g in estimates(hunt, self.objective, rademacher, self.smoothing, self.steps, self.pairs):
            hunt.move(hunt.x + over_features(length.step, g) * adam.step(g))
