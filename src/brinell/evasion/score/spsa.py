"""SPSA: Adam along a gradient estimated from scores with simultaneous perturbations of every feature.

Source: Uesato et al. 2018, arXiv:1802.05666, algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from brinell.errors import UsageError
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import margin
from brinell.evasion.score.estimate import Adam, estimator, rademacher
from brinell.evasion.score.population import affordable
from brinell.threat import Access


@final
@dataclass(frozen=True)
class SPSA(Attack):
    """Simultaneous perturbation stochastic approximation (Uesato et al. 2018).

    steps: moves; each costs 2 * pairs forward rows, the last fewer where the budget ends. smoothing: how far each
    feature is moved to measure (the paper's delta); step: Adam's (the paper's alpha); both in input units.
    """

    steps: int = 100
    pairs: int = 64
    smoothing: float = 0.01
    step: float = 0.01
    objective: Objective = margin
    needs: ClassVar[Access] = Access.SCORES

    def __post_init__(self) -> None:
        if min(self.steps, self.pairs) < 1:
            raise UsageError(f"steps and pairs are {self.steps} and {self.pairs}; both must be at least 1")
        if not min(self.smoothing, self.step) > 0:
            raise UsageError(f"smoothing and step are {self.smoothing} and {self.step}; both must be above 0")

    def __call__(self, hunt: Hunt) -> None:
        finite_radius(self, hunt.set)
        hunt.begin()
        estimate = estimator(hunt, self.objective, rademacher, self.smoothing)
        adam = hunt.carry(Adam.none(hunt.x))
        for _ in hunt.steps(self.steps):
            pairs = affordable(hunt, 2 * self.pairs) // 2
            if not pairs:
                return
            g = estimate(pairs)
            hunt.move(hunt.x + self.step * adam.step(g))
