"""Many points of every example at once: what estimates and populations are asked through."""

from collections.abc import Callable
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.evasion.hunt import Hunt, Objective, Points
from brinell.threat import PerturbationSet
from brinell.types import Inputs

BLOCK = 2**21
"""Most input values held in one question, so that the copies a projection makes stay small; it changes no count."""


def affordable(hunt: Hunt, count: int) -> int:
    """At most `count` points: as many as every example that stands can still pay for."""
    return min(count, int(hunt.left.min())) if len(hunt) else 0


def block(hunt: Hunt, count: int) -> int:
    """How many of `count` points an example go into one question."""
    return max(1, min(count, BLOCK // max(1, prod(hunt.x0.shape))))


def evaluate(
    hunt: Hunt, count: int, points: Callable[[slice], Points], objective: Objective
) -> Float[Tensor, "points batch"]:
    """The objective at `count` points of each example, of the examples that still stand after all of them.

    points: makes those of a slice, (k, batch, *shape), for the examples that stand when it is called; they are drawn
    into set ∩ box. A value that is not a number is the least there is.
    """
    answers = []
    size = block(hunt, count)
    for first in range(0, count, size):
        inside = within(hunt.set, hunt.x0, points(slice(first, min(first + size, count))))
        scores = hunt.probe(inside)
        repeated = len(inside), len(hunt)
        aim = None if hunt.aim is None else hunt.aim.repeat(len(inside))
        value = objective(scores.flatten(0, 1), hunt.y.repeat(len(inside)), aim).reshape(repeated)
        answers.append((hunt.rows, torch.nan_to_num(value, nan=-torch.inf)))
    return torch.cat([value[:, torch.isin(rows, hunt.rows)] for rows, value in answers])


def within(allowed: PerturbationSet, x0: Inputs, points: Points) -> Points:
    """Each of several points of each example, drawn into set ∩ box."""
    near = allowed.project(x0.expand(points.shape).flatten(0, 1), points.flatten(0, 1))
    return near.reshape(points.shape)
