"""A universal perturbation: the same change for every input, and how often it fools."""

from dataclasses import dataclass, replace
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor

from brinell.evasion.attack import Attack, attack
from brinell.evasion.hunt import Hunt
from brinell.evidence import Share
from brinell.targets import Target
from brinell.threat import Access, GivenAims, Threat
from brinell.types import Inputs, Labels

Perturbation = Float[Tensor, "*shape"]


@final
@dataclass(frozen=True, eq=False)
class Universal(Attack):
    """Adds the same perturbation to every example: one query each, whatever the target shows.

    perturbation: of the shape of one example, or one that broadcasts to it. Where x0 + perturbation leaves the set or
    the box, the nearest point that does not is tried. `UAP` and `UniversalSGD` learn one.
    """

    perturbation: Perturbation
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        hunt.move(hunt.x0 + hunt.inward(self.perturbation.to(hunt.x0)))
        hunt.query_if_moved()


def fooling(universal: Universal, target: Target, x: Inputs, threat: Threat, seed: int = 0) -> Share:
    """How many decisions it changes, or turns into the class aimed at; each is for the judge to say.

    x: examples that it was not learnt from. No labels are needed, as in the paper: a decision that was wrong before
    counts if it becomes another. Of a goal with an aim, what is decided so already is left out.
    """
    x, y, aims = askable(target.restrict(threat.access), x, threat)
    found = attack(universal, target, x, y, replace(threat, goal=GivenAims(aims)), seed) if len(x) else None
    return Share(0, 0) if found is None else Share(int(found.broken.sum()), len(x))


def askable(target: Target, x: Inputs, threat: Threat) -> tuple[Inputs, Labels, Labels | None]:
    """(the examples that are not yet as the goal wants them, the decisions about them, the classes aimed at)."""
    y = target.labels(x)
    kept = threat.goal.open(y)
    x = x[kept]
    y = y[kept]
    scores = target.scores(x) if target.access >= Access.SCORES and len(x) else None
    return x, y, threat.goal.aims(y, scores)
