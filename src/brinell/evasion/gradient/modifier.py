"""Modifiers: where an attack has its gradient taken, and how several are joined into one.

An attack asks for the gradient at x. A modifier asks on its behalf at other places, and makes one answer of what comes
back; so modifiers stack, and any attack that takes them has all their combinations.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch

from brinell.arguments import Checked
from brinell.evasion.hunt import Hunt, Objective, Relative
from brinell.types import Inputs, Scores

Place = Callable[[Inputs], Inputs]
"""Where a gradient is taken: differentiable, and called once with the points x of the examples that stand."""

Ask = Callable[[Place], tuple[Scores, Inputs]]
"""(the objective at place(x), its gradient by x), of the examples that still stand after it."""


class Modifier(Checked, ABC):
    """Changes how the gradient of a run is asked for."""

    @abstractmethod
    def begin(self, hunt: Hunt, ask: Ask) -> Ask:
        """The modifier for one run of `hunt`, over what would be asked without it.

        What it remembers of each example shrinks with the hunt.
        """


def here(x: Inputs) -> Inputs:
    """At x itself."""
    return x


def asking(hunt: Hunt, objective: Objective | Relative, modifiers: Sequence[Modifier]) -> Ask:
    """How one run of `hunt` asks for gradients of the objective: through the modifiers, the first of them first.

    Of x itself it is `hunt.gradient`. A point elsewhere is a witness only if it lies in set ∩ box.
    """

    def direct(place: Place) -> tuple[Scores, Inputs]:
        return hunt.gradient(objective) if place is here else _through(hunt, objective, place)

    ask: Ask = direct
    for modifier in reversed(modifiers):
        ask = modifier.begin(hunt, ask)
    return ask


def averaged(hunt: Hunt, ask: Ask, places: Sequence[Place]) -> tuple[Scores, Inputs]:
    """The mean of what is answered at several places, asked one after the other."""
    with hunt.carrying(value=hunt.x.new_zeros(len(hunt)), gradient=torch.zeros_like(hunt.x)) as total:
        for k in hunt.steps(len(places)):
            value, g = ask(places[k])
            total.value += value
            total.gradient += g
        return total.value / len(places), total.gradient / len(places)


def _through(hunt: Hunt, objective: Objective | Relative, place: Place) -> tuple[Scores, Inputs]:
    """The gradient at place(x), taken back to x by the chain rule."""
    with torch.enable_grad():
        x = hunt.x.detach().requires_grad_()
        point = place(x)
    with hunt.carrying(rows=torch.arange(len(x), device=x.device)) as left:
        value, g = hunt.probe_gradient(point.detach().unsqueeze(0), objective)
    whole = len(left.rows) == len(x)
    outer = g[0] if whole else torch.zeros_like(point).index_copy(0, left.rows, g[0])
    (inner,) = torch.autograd.grad(point, x, outer)
    return value[0], inner if whole else inner[left.rows]
