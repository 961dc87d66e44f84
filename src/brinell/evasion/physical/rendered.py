"""Gradients of something that is not an input: it is rendered into inputs first, and the target sees those."""

from collections.abc import Callable

import torch
from torch import Tensor

from brinell.errors import UsageError
from brinell.evasion.objective import Objective, of_rows
from brinell.targets import Target
from brinell.threat import Box
from brinell.types import Inputs, Labels, Scores


def pull_back(
    target: Target,
    thing: Tensor,
    render: Callable[[Tensor], Inputs],
    objective: Objective,
    y: Labels,
    aim: Labels | None,
) -> tuple[Scores, Tensor]:
    """(objective of each rendered input, the gradient of their mean by the thing).

    The target gives the gradient by its inputs, and the chain rule does the rest: any access that shows gradients will
    do. render draws its own chance, so the mean over many draws estimates an expectation over transformations (Athalye
    et al. 2018, arXiv:1707.07397).
    """
    leaf = thing.detach().requires_grad_()
    with torch.enable_grad():
        x = render(leaf)

    _, values, g = target.gradient(x.detach(), of_rows(objective, y, aim))
    (pulled,) = torch.autograd.grad(x, leaf, torch.nan_to_num(g, 0.0, 0.0, 0.0) / len(x))
    return values, pulled


def optimise(thing: Tensor, gradient: Callable[[Tensor], Tensor], steps: int, rate: float) -> Tensor:
    """`steps` of Adam up this gradient, free of limits."""
    leaf = thing.clone().requires_grad_()
    optimiser = torch.optim.Adam([leaf], rate, maximize=True)
    for _ in range(steps):
        leaf.grad = gradient(leaf.detach())
        optimiser.step()
    return leaf.detach()


def one_range(box: Box) -> tuple[float, float]:
    """(lowest, highest) valid value, for things whose every value has the same limits; UsageError where none are."""
    if isinstance(box.low, float) and isinstance(box.high, float) and box.bounded:
        return box.low, box.high
    raise UsageError("the target's box differs from feature to feature or has no end; a picture needs one finite range")


def within(free: Tensor, limits: tuple[float, float]) -> Tensor:
    """What has no limits, as values within them: its tanh (Carlini and Wagner 2017, arXiv:1608.04644)."""
    low, high = limits
    return low + (high - low) * (free.tanh() + 1) / 2


def freed(values: Tensor, limits: tuple[float, float]) -> Tensor:
    """The inverse of `within`, a thousandth short of the limits, where it would be infinite."""
    low, high = limits
    return (0.999 * (2 * (values - low) / (high - low) - 1)).atanh()
