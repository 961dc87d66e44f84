"""Transfer: what an attack finds on a model of the adversary's own is shown to the target.

Sources: Papernot et al. 2016, arXiv:1605.07277; Liu et al. 2017, arXiv:1611.02770 (the source may be an ensemble).
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt
from brinell.targets import Target
from brinell.threat import Access, GivenAims, Threat
from brinell.types import Inputs, Labels


@final
@dataclass(frozen=True)
class Transfer(Attack):
    """An attack on a source, whose candidates are shown to the target: one query an example.

    source: the adversary's own model; what it is asked does not count. attack: what searches on it. lead: by how much
    a point must fool the source, in its scores, for the search to end; 0 ends it at the first that does, inf lets it
    take all of its steps, and more of what it finds then carries over. The candidate shown is the source's witness
    where there is one, and else the last point of the search.
    """

    source: Target
    attack: Attack
    lead: float = 0.0
    needs: ClassVar[Access] = Access.LABELS

    def __post_init__(self) -> None:
        if self.source.access < self.attack.needs:
            name = type(self.attack).__name__
            needs = self.attack.needs.name
            raise UsageError(f"{name} needs {needs}; the source shows {self.source.access.name}")

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        if not len(hunt):
            return
        threat = Threat(hunt.set, GivenAims(hunt.aim))
        x, _ = crafted(self.attack, self.source.rescaled(hunt.unit), hunt.x0, hunt.y, threat, hunt.rng, self.lead)
        hunt.move(x)
        hunt.query_if_moved()


def crafted(
    attack: Attack, source: Target, x0: Inputs, y: Labels, threat: Threat, rng: torch.Generator, lead: float = 0.0
) -> tuple[Inputs, Labels | None]:
    """(what an attack makes of each example on a source, the classes aimed at).

    The source's witness, by this lead, where there is one, and else the last point of the search; where the source is
    wrong about the example to begin with, that is the example itself.
    """
    hunt = Hunt(source, x0, y, threat, rng)
    aims = hunt.goal_aims
    hunt.require_margin(lead)
    attack(hunt)
    hunt.query_if_moved()
    x = hunt.candidates.clone()
    standing = hunt.rows[hunt.reach.isinf()]
    x[standing] = hunt.x[hunt.reach.isinf()]
    return hunt.outward(x), aims
