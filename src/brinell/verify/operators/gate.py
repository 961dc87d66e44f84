"""Smooth relatives of the ReLU."""

import math
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from brinell.verify.operators.base import Values
from brinell.verify.operators.curve import Curve, Profile


@final
@dataclass(frozen=True)
class Softplus(Curve):
    """log(1 + exp(x)), and x itself above `threshold`, as torch computes it."""

    threshold: float = 20.0

    @property
    def profile(self) -> Profile:
        return Profile(convex=True, least=0.0, slack=math.exp(-self.threshold))

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return F.softplus(x, threshold=self.threshold)

    def derivative(self, x: Tensor) -> Tensor:
        return x.sigmoid()


@final
@dataclass(frozen=True)
class ELU(Curve):
    """x above zero, `scale` * (exp(x) - 1) below; its kink at zero is concave where scale > 1."""

    scale: float = 1.0

    @property
    def profile(self) -> Profile:
        return Profile(convex=True, knots=(0.0,) if self.scale > 1 else (), least=-self.scale)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return torch.where(x > 0, x, self.scale * x.clamp(max=0).expm1())

    def derivative(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, 1.0, self.scale * x.clamp(max=0).exp())


@final
@dataclass(frozen=True)
class SiLU(Curve):
    """x / (1 + exp(-x)), also called swish. It turns at -1.278…, and bends the other way beyond ±2.399…."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=False, knots=(-2.3993572805154746, 2.3993572805154746), turns=(-1.2784645427610738,))

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x * x.sigmoid()

    def derivative(self, x: Tensor) -> Tensor:
        return x.sigmoid() * (1 + x * (-x).sigmoid())


@final
@dataclass(frozen=True)
class GELU(Curve):
    """x times the share of a normal distribution below x. It turns at -0.751…, and bends the other way beyond ±√2."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=False, knots=(-math.sqrt(2), math.sqrt(2)), turns=(-0.7517915246935645,))

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x * _below(x)

    def derivative(self, x: Tensor) -> Tensor:
        return _below(x) + x * (-x.square() / 2).exp() / math.sqrt(2 * math.pi)


def _below(x: Tensor) -> Tensor:
    return torch.erfc(-x / math.sqrt(2)) / 2
