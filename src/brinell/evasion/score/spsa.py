"""SPSA: Adam along a gradient estimated from scores with simultaneous perturbations of every feature.

Source: Uesato et al. 2018, arXiv:1802.05666, algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from brinell.evasion.adam import Adam
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import margin
from brinell.evasion.score.estimate import check_estimates, estimates, rademacher
from brinell.threat import Access


@final
@dataclass(frozen=True)
class SPSA(Attack):
    """Simultaneous perturbation stochastic approximation (Uesato et al. 2018).

    steps: moves; each costs 2 * pairs forward rows, the last fewer where the budget ends. smoothing: how far each
    feature is moved to measure (delta); step: Adam's (alpha); both in input units. Defaults are those of CleverHans,
    by an author of the paper. Points of an estimate are drawn into the set, and so can be witnesses.
    """

    steps: int = 100
    pairs: int = 64
    smoothing: float = 0.01
    step: float = 0.01
    objective: Objective = margin
    needs: ClassVar[Access] = Access.SCORES

    def __post_init__(self) -> None:
        check_estimates(self.steps, self.pairs, self.smoothing, self.step)

    def __call__(self, hunt: Hunt) -> None:
        finite_radius(self, hunt.set)
        hunt.begin()
        adam = hunt.carry(Adam.none(hunt.x))
        for g in estimates(hunt, self.objective, rademacher, self.smoothing, self.steps, self.pairs):
            hunt.move(hunt.x + self.step * adam.step(g))
