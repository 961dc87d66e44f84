"""Adam, for searches in which every example goes its own way."""

from dataclasses import dataclass

import torch
from torch import Tensor

from brinell.threat.sets import over_features
from brinell.types import Inputs


@dataclass
class Adam:
    """Adam's step over each feature (Kingma and Ba 2015, arXiv:1412.6980), counted feature by feature.

    All fields have one row an example. A feature left out of a step keeps its moments.
    """

    mean: Inputs
    square: Inputs
    count: Inputs

    @classmethod
    def none(cls, x: Inputs) -> "Adam":
        """Before the first step."""
        return cls(torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x))

    def forget(self) -> None:
        """As before the first step."""
        self.mean, self.square, self.count = (torch.zeros_like(self.mean) for _ in range(3))

    def step(self, g: Inputs, taken: Tensor | None = None) -> Inputs:
        """The step of length about one along g, for the features taken (all without a mask); zero for others."""
        taken = torch.ones_like(g, dtype=torch.bool) if taken is None else taken
        scale = over_features(g.abs().flatten(1).amax(1).clamp(min=torch.finfo(g.dtype).tiny ** 0.5), g)
        self.count = self.count + taken
        self.mean = torch.where(taken, 0.9 * self.mean + 0.1 * g, self.mean)
        self.square = torch.where(taken, 0.999 * self.square + 0.001 * g.square(), self.square)
        mean = self.mean / (1 - 0.9 ** self.count.clamp(min=1))
        square = self.square / (1 - 0.999 ** self.count.clamp(min=1))
        step: Inputs = torch.where(taken, mean / (square.sqrt() + 1e-8 * scale), torch.zeros_like(g))
        return step
