"""Smooth relatives of the ReLU."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from brinell.proofs.network.operators.base import Values
from brinell.proofs.network.operators.curve import Curve, Profile


@final
@dataclass(frozen=True)
class Softplus(Curve):
    """log(1 + exp(x)), and x itself above `threshold`, as torch computes it.

    threshold: any finite number; there it falls by log(1 + exp(-threshold)).
    """

    threshold: float = 20.0

    @property
    def profile(self) -> Profile:
        return Profile(convex=True, least=min(0.0, self.threshold), slack=self._jump)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return torch.where(x > self.threshold, x, self.smooth(x))

    def smooth(self, x: Tensor) -> Tensor:
        return torch.logaddexp(x, torch.zeros_like(x))

    def derivative(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    @property
    def _jump(self) -> float:
        """The smooth function less x is greatest where x is first taken for it; rounded up."""
        return (max(-self.threshold, 0.0) + math.log1p(math.exp(-abs(self.threshold)))) * (1 + 1e-12)


@final
@dataclass(frozen=True)
class ELU(Curve):
    """x above zero, `scale` * (exp(x) - 1) below, for any finite scale.

    Its kink at zero is concave where scale > 1. Where scale < 0 it falls to zero and rises from there, concave below.
    """

    scale: float = 1.0

    @property
    def profile(self) -> Profile:
        if self.scale < 0:
            return Profile(convex=False, knots=(0.0,), turns=(0.0,), least=0.0)
        return Profile(convex=True, knots=(0.0,) if self.scale > 1 else (), least=-self.scale)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return torch.where(x > 0, x, self.scale * x.clamp(max=0).expm1())

    def derivative(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, 1.0, self.scale * x.clamp(max=0).exp())


@final
@dataclass(frozen=True)
class SiLU(Curve):
    """x / (1 + exp(-x)), also called swish. It turns at -1.278…, and curves the other way beyond ±2.399…."""

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
    """x times the share of a normal distribution below x. It turns at -0.751…, and curves the other way beyond ±√2."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=False, knots=(-math.sqrt(2), math.sqrt(2)), turns=(-0.7517915246935645,))

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x * _below(x)

    def derivative(self, x: Tensor) -> Tensor:
        return _below(x) + x * (-x.square() / 2).exp() / math.sqrt(2 * math.pi)


@final
@dataclass(frozen=True)
class TanhGELU(Curve):
    """x / (1 + exp(-2 u)) with u = sqrt(2 / pi) (x + 0.044715 x^3): the approximation of GELU by a tanh.

    Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2. It turns at -0.752…, and curves the other way beyond
    ±1.418….
    """

    @property
    def profile(self) -> Profile:
        return Profile(convex=False, knots=(-1.4185040087908288, 1.4185040087908288), turns=(-0.7524614220710163,))

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x * _twice_u(x).sigmoid()

    def derivative(self, x: Tensor) -> Tensor:
        x = x.clamp(-_FAR, _FAR)
        inner = _twice_u(x)
        steep = 2 * math.sqrt(2 / math.pi) * (1 + 3 * _CUBIC * x.square())
        return inner.sigmoid() * (1 + x * (-inner).sigmoid() * steep)


@final
@dataclass(frozen=True)
class Mish(Curve):
    """x tanh(log(1 + exp(x))) (Misra 2019, arXiv:1908.08681, eq. 1).

    It turns at -1.192…, and curves the other way below -2.256… and above 1.490….
    """

    @property
    def profile(self) -> Profile:
        return Profile(convex=False, knots=(-2.2563763963607931, 1.4905711794854285), turns=(-1.1924312145154952,))

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x * _saturated(x)

    def derivative(self, x: Tensor) -> Tensor:
        x = x.clamp(-_STRAIGHT, _STRAIGHT)
        share = _saturated(x)
        return share + x * (1 - share.square()) * x.sigmoid()


@final
@dataclass(frozen=True)
class HardSwish(Curve):
    """x clamp(x + 3, 0, 6) / 6 (Howard et al. 2019, arXiv:1905.02244, section 5.2): linear beyond ±3."""

    @property
    def profile(self) -> Profile:
        return Profile(convex=False, knots=(-3.0, 3.0), turns=(-1.5,), least=-0.375)

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x * ((x + 3).clamp(0, 6) / 6)

    def derivative(self, x: Tensor) -> Tensor:
        inside = (x >= -3) & (x <= 3)
        return torch.where(inside, x / 3 + 0.5, (x > 0).to(x.dtype))


_CUBIC = 0.044715

_FAR = 60.0
"""Where a gate is one or zero to the last bit."""

_STRAIGHT = 300.0
"""The same of one that is exp(x) on its way to zero; times x it is no more than rounding."""


def _twice_u(x: Tensor) -> Tensor:
    return 2 * math.sqrt(2 / math.pi) * (x + _CUBIC * x**3)


def _saturated(x: Tensor) -> Tensor:
    return x.exp().log1p().tanh()


def _below(x: Tensor) -> Tensor:
    return torch.erfc(-x / math.sqrt(2)) / 2
