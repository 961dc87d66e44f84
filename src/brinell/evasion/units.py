"""The units in which an attack sees inputs and scores: neither the user's own nor a factor on the scores changes it."""

import torch
from torch import Tensor

from brinell.types import Inputs, Logits, Scores

ORDINARY = 10.0
"""How far the highest clean score lies above the mean of all, with a network trained on cross-entropy: about."""


def exact_unit(unit: float, x0: Inputs) -> float:
    """The unit, or one where some value is so small that it would be lost on the way."""
    return unit if torch.equal(x0 / unit * unit, x0) else 1.0


def ordinary_unit(clean: Logits) -> Scores:
    """The power of two for each example by which its scores are to be divided, so that they spread as is ordinary.

    Cross-entropy and other objectives that are not homogeneous saturate where scores are large, and are all but flat
    where they are small: its gradient is lost to rounding. The spread grows as the scores do, so that no positive
    factor on them is seen. Gupta and Ajanthan 2020 (arXiv:2003.13511) choose a temperature by the network's Jacobian.
    """
    above = clean.double().amax(1) - clean.double().mean(1)
    mantissa, exponent = torch.frexp(above.where((above > 0) & above.isfinite(), ORDINARY) / ORDINARY)
    return torch.ldexp(torch.ones_like(above), exponent - (mantissa < 0.5**0.5).int())


def in_units(values: Tensor, unit: Scores) -> Tensor:
    """Scores, or gradients of them, divided by the unit of their example: the first axis."""
    return values / unit.to(values.dtype).reshape(-1, *(1,) * (values.dim() - 1))


def finite(g: Tensor) -> Tensor:
    """Zero where it is not finite, without a copy where it is: a sum is finite only if all its parts are."""
    return g if g.sum().isfinite() else torch.nan_to_num(g, 0.0, 0.0, 0.0)
