"""Adam with projection onto a range: gradient ascent on the free parameters of a bound.

Every value in range gives a sound bound, so the ascent may stop at any step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass
class Parameter:
    """Values in [0, ceiling], examples first, and Adam's moments of them. rate: the learning rate of the first step."""

    values: Tensor
    ceiling: float
    rate: float

    def __post_init__(self) -> None:
        self.mean = torch.zeros_like(self.values)
        self.square = torch.zeros_like(self.values)

    def only(self, chosen: Tensor) -> None:
        """Keep some of the examples."""
        self.values = self.values[chosen]
        self.mean = self.mean[chosen]
        self.square = self.square[chosen]


def adam_step(parameters: Sequence[Parameter], gradients: Sequence[Tensor | None], taken: int, decay: float) -> None:
    """Step `taken` + 1 of Adam, uphill, then clamped to the range; the learning rate falls by `decay` a step.

    Kingma and Ba 2015, arXiv:1412.6980, algorithm 1. A parameter without a gradient stays as it is.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        parameter.mean = 0.9 * parameter.mean + 0.1 * gradient
        parameter.square = 0.999 * parameter.square + 0.001 * gradient.square()

        mean = parameter.mean / (1 - 0.9 ** (taken + 1))
        size = (parameter.square / (1 - 0.999 ** (taken + 1))).sqrt() + 1e-8
        step = parameter.rate * decay**taken
        parameter.values = (parameter.values + step * mean / size).clamp(0, parameter.ceiling)
