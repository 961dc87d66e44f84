"""An operator that no Lipschitz rule is for."""

from dataclasses import dataclass
from typing import final

import torch

from brinell.proofs.network.operators import (
    Choices,
    Interval,
    Linearised,
    Neurons,
    Nonlinearity,
    RowChoices,
    Slope,
    Values,
)


@final
@dataclass(frozen=True)
class Mystery(Nonlinearity):
    """x^3."""

    def forward(self, *inputs: Values) -> Values:
        return inputs[0] ** 3

    def interval(self, *inputs: Interval) -> Interval:
        return inputs[0][0] ** 3, inputs[0][1] ** 3

    def unknown(self, low: Values, high: Values) -> Neurons:
        return torch.ones_like(low, dtype=torch.bool)

    def choices(self, low: Values, high: Values, slope: Slope) -> Choices:
        return low.new_zeros(len(low), 0)

    def relax(self, low: Values, high: Values, choices: RowChoices) -> Linearised:
        raise NotImplementedError

    def carried(self, low: Values, high: Values, error: Values, step: float, constant: float) -> Values:
        return error
