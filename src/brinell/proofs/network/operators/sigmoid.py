"""The functions in the shape of an S: convex below zero, concave above."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from brinell.proofs.network.operators.base import Values
from brinell.proofs.network.operators.curve import Curve, Profile


@final
@dataclass(frozen=True)
class Sigmoid(Curve):
    """1 / (1 + exp(-x))."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=True, knots=(0.0,), least=0.0, most=1.0)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.sigmoid()

    def derivative(self, x: Tensor) -> Tensor:
        return x.sigmoid() * (-x).sigmoid()


@final
@dataclass(frozen=True)
class Tanh(Curve):
    """The hyperbolic tangent."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=True, knots=(0.0,), least=-1.0, most=1.0)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.tanh()

    def derivative(self, x: Tensor) -> Tensor:
        return x.cosh().square().reciprocal()


@final
@dataclass(frozen=True)
class Erf(Curve):
    """The error function."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=True, knots=(0.0,), least=-1.0, most=1.0)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return torch.erf(x)

    def derivative(self, x: Tensor) -> Tensor:
        return 2 / math.sqrt(math.pi) * (-x.square()).exp()
