"""NES: projected ascent along a gradient estimated from scores with antithetic Gaussian directions.

Source: Ilyas et al. 2018, arXiv:1804.08598: algorithm 1 is the estimate, section 3.2 the ascent.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from brinell.errors import UsageError
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import cross_entropy
from brinell.evasion.score.estimate import estimator, gaussian
from brinell.evasion.score.population import affordable
from brinell.threat import Access


@final
@dataclass(frozen=True)
class NES(Attack):
    """Natural evolution strategies (Ilyas et al. 2018).

    steps: moves; each costs 2 * pairs forward rows, the last fewer where the budget ends. smoothing: the standard
    deviation of the directions, in input units (the paper's sigma). step: of each move, as a share of the radius.
    The points of the estimate are judged, so the iterate itself is asked about only at the end.
    """

    steps: int = 100
    pairs: int = 50
    smoothing: float = 0.001
    step: float = 0.2
    objective: Objective = cross_entropy
    needs: ClassVar[Access] = Access.SCORES

    def __post_init__(self) -> None:
        if min(self.steps, self.pairs) < 1:
            raise UsageError(f"steps and pairs are {self.steps} and {self.pairs}; both must be at least 1")
        if not min(self.smoothing, self.step) > 0:
            raise UsageError(f"smoothing and step are {self.smoothing} and {self.step}; both must be above 0")

    def __call__(self, hunt: Hunt) -> None:
        step = self.step * finite_radius(self, hunt.set)
        hunt.begin()
        estimate = estimator(hunt, self.objective, gaussian, self.smoothing)
        for _ in hunt.steps(self.steps):
            pairs = affordable(hunt, 2 * self.pairs) // 2
            if not pairs:
                return
            g = estimate(pairs)
            hunt.move(hunt.x + step * hunt.set.steepest(g))
