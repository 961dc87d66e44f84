"""Running one attack: hunt, then let the judge decide."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brinell.arguments import Checked, checked
from brinell.errors import UsageError
from brinell.evasion.hunt import Hunt
from brinell.evidence import judge
from brinell.targets import Target
from brinell.targets.examples import check_examples
from brinell.targets.generators import generators_kept
from brinell.threat import Access, PerturbationSet, Threat
from brinell.types import Inputs, Labels, Mask

PUSHES = (0.0, 2.0**-18, 2.0**-14, 2.0**-10)
"""How much farther from x0 a candidate is offered again that the judge refused: one that lies on the boundary up to
rounding is adversarial in a batch, and may not be alone. Each is judged like any other."""


class Attack(Checked, ABC):
    """A search for adversarial examples: a frozen dataclass of settings that is called on a hunt.

    A hunt's inputs are in units in which the box is about one wide, so a length among the settings is a share of the
    box unless it says otherwise.

    needs: the least access it works with. It moves the hunt and asks it for scores or gradients, and returns
    nothing: the hunt keeps the candidates.
    """

    instead: ClassVar[str] = "give an attack, such as brinell.evasion.PGD(steps=20)"
    needs: ClassVar[Access]

    @abstractmethod
    def __call__(self, hunt: Hunt) -> None:
        """Search from where the hunt stands."""


def finite_radius(attack: object, allowed: PerturbationSet) -> float:
    """The radius, for an attack or a part of one that measures its steps by it. Raises UsageError where none is."""
    if allowed.radius == float("inf"):
        raise UsageError(
            f"{type(attack).__name__} needs a finite radius and the set has none; give a radius, "
            "or an attack that seeks the smallest perturbation"
        )
    return allowed.radius


@final
@dataclass(frozen=True)
class Found:
    """What an attack found, as the judge sees it. All tensors have one row an example, in the order given.

    x: a witness where broken, the clean example elsewhere. distance: float64, in the set's units, 0 where the clean
    example is already misclassified and inf where unbroken. queries, gradients: forward and gradient rows spent.
    """

    x: Inputs
    broken: Mask
    distance: Float[Tensor, " batch"]
    queries: Int64[Tensor, " batch"]
    gradients: Int64[Tensor, " batch"]


@checked()
@generators_kept()
def attack(
    attack: Attack,
    target: Target,
    x: Inputs,
    y: Labels,
    threat: Threat,
    seed: int = 0,
    checkpoint: Callable[[], None] = lambda: None,
) -> Found:
    """Run `attack` on every example and judge what it finds.

    x: (n, *shape), in the target's box. y: class indices, (n,). seed decides every random choice. checkpoint is
    called before the target is asked; what it raises passes through.
    Raises UsageError if the target or the threat shows less than the attack needs, or on unfit examples.
    """
    access = min(target.access, threat.access)
    if access < attack.needs:
        raise UsageError(
            f"{type(attack).__name__} needs {attack.needs.name}; the target shows {access.name} under this threat"
        )
    threat = threat.within(target.box)
    check_examples(target, x, y, threat)
    return run(attack, target, x, y, threat, torch.Generator(x.device).manual_seed(seed), checkpoint)


def run(
    attack: Attack,
    target: Target,
    x: Inputs,
    y: Labels,
    threat: Threat,
    rng: torch.Generator,
    checkpoint: Callable[[], None],
) -> Found:
    """The same, for a caller that has checked its arguments and owns the generator."""
    hunt = Hunt(target, x, y, threat, rng, checkpoint)
    attack(hunt)
    hunt.query_if_moved()

    broken = torch.zeros_like(y, dtype=torch.bool)
    distance = torch.full_like(hunt.distance, torch.inf)
    candidates = hunt.outward(hunt.candidates)
    shown = x.clone()
    witness = target.restrict(threat.access)
    rows = hunt.distance.isfinite().nonzero().flatten()
    for push in PUSHES:
        shown[rows] = threat.set.box.clamp(torch.lerp(x[rows], candidates[rows], 1 + push))
        aims = None if hunt.goal_aims is None else hunt.goal_aims[rows]
        broken[rows], distance[rows] = judge(witness, threat.set, x[rows], shown[rows], y[rows], aims)
        rows = rows[~broken[rows]]
        if not len(rows):
            break

    shown[rows] = x[rows]
    distance[rows] = torch.inf
    return Found(shown, broken, distance, hunt.queries, hunt.gradients)
