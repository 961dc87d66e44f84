"""The judge: the only place where a candidate becomes a witness.

Attacks are not believed. Each candidate is measured again, in float64 and with no tolerance outward, and shown to the
target again, alone in a batch of one, in a pass of its own. A bug in an attack can make it weak; it cannot make it lie.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.targets import Target
from brinell.threat import Access, PerturbationSet
from brinell.threat.goal import met, met_by_label
from brinell.types import Inputs, Labels, Mask


def judge(
    target: Target, allowed: PerturbationSet, x0: Inputs, x: Inputs, y: Labels, aims: Labels | None = None
) -> tuple[Mask, Float[Tensor, " batch"]]:
    """(whether each candidate x breaks its example x0, its distance in float64).

    A candidate breaks if it lies in the set and in the box, and the target, asked afresh, no longer prefers the label
    (or prefers the aim): a tie breaks, a score that is not finite does not.
    """
    distance = allowed.distance(x0, x)
    broken = allowed.contains(x0, x)
    for row in broken.nonzero().flatten().tolist():
        one = slice(row, row + 1)
        broken[row] = decides(target, x[one], y[one], None if aims is None else aims[one]).item()
    return broken, distance


def decides(target: Target, x: Inputs, y: Labels, aims: Labels | None) -> Mask:
    """Whether the target's answers to x serve the adversary, by scores where they are seen and else by label."""
    if target.access >= Access.SCORES:
        return met(target.scores(x), y, aims)
    return met_by_label(target.labels(x), y, aims)


def finite(target: Target, x: Inputs) -> Mask:
    """Whether the target answers each of x with finite scores."""
    if target.access >= Access.SCORES:
        return target.scores(x).isfinite().all(1)
    return torch.ones(len(x), dtype=torch.bool, device=x.device)
