"""Powers, exponentials and logarithms."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from brinell.proofs.network.operators.base import Values
from brinell.proofs.network.operators.curve import Curve, Profile


@final
@dataclass(frozen=True)
class Power(Curve):
    """x to the `exponent`, a whole number from 2 on."""

    exponent: int

    @property
    def profile(self) -> Profile:
        if self.exponent % 2 == 0:
            return Profile(convex=True, turns=(0.0,), least=0.0)
        return Profile(convex=False, knots=(0.0,))

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x**self.exponent

    def derivative(self, x: Tensor) -> Tensor:
        return self.exponent * x ** (self.exponent - 1)


@final
@dataclass(frozen=True)
class RealPower(Curve):
    """x to any `exponent` but 0 and 1, of positive numbers; of zero too where it is positive."""

    exponent: float

    @property
    def profile(self) -> Profile:
        return Profile(convex=not 0 < self.exponent < 1, least=0.0)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.where(x >= 0, torch.nan) ** self.exponent

    def derivative(self, x: Tensor) -> Tensor:
        return self.exponent * x.where(x >= 0, torch.nan) ** (self.exponent - 1)


@final
@dataclass(frozen=True)
class Exp(Curve):
    """e to the x."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=True, least=0.0)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.exp()

    def derivative(self, x: Tensor) -> Tensor:
        return x.exp()


@final
@dataclass(frozen=True)
class Log(Curve):
    """The natural logarithm, of positive numbers."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=False)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.log()

    def derivative(self, x: Tensor) -> Tensor:
        return x.reciprocal()


@final
@dataclass(frozen=True)
class Sqrt(Curve):
    """The square root, of numbers that are not negative."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=False, least=0.0)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.sqrt()

    def derivative(self, x: Tensor) -> Tensor:
        return x.rsqrt() / 2


@final
@dataclass(frozen=True)
class Rsqrt(Curve):
    """One by the square root, of positive numbers."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=True, least=0.0)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.rsqrt()

    def derivative(self, x: Tensor) -> Tensor:
        return -x.rsqrt() / (2 * x)


@final
@dataclass(frozen=True)
class Reciprocal(Curve):
    """1 / x, of an interval without zero."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=False, knots=(0.0,), pole=0.0)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.reciprocal()

    def derivative(self, x: Tensor) -> Tensor:
        return -x.square().reciprocal()
