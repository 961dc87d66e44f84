"""Upper bounds on operator norms that are never below the truth, as they are computed in float64.

Power iteration approaches a norm from below, and so certifies too much. Gram iteration comes from above
(Delattre et al. 2023, arXiv:2305.16173): with G_0 = W and G_{t+1} = G_t* G_t, the norm is at most |G_t|_F^(1 / 2^t).
"""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.proofs.network.operators import Convolution

UNIT = torch.finfo(torch.float64).eps / 2
"""What one rounding takes or adds, as a share."""


def spectral(matrices: Tensor, steps: int) -> Float64[Tensor, "*batch"]:
    """No less than the largest singular value of each matrix (the last two axes), real or complex.

    After t steps a matrix of rank r is bounded within a factor r^(1 / 2^(t + 1)). Rounding is carried along: a product
    of n terms is off by n units of the factors' Frobenius norms at most (Higham 2002, section 3.5).
    """
    rows, columns = matrices.shape[-2:]
    a = matrices.mT if rows < columns else matrices
    sizes = []
    for _ in range(steps):
        size = _frobenius(a)
        sizes.append(size)
        a = a / size.where(size > 0, torch.ones_like(size))[..., None, None]
        a = a.mH @ a
    rounding = 8 * (max(rows, columns) + 8) * UNIT
    bound = _frobenius(a)
    for size in reversed(sizes):
        bound = size * (bound + rounding).sqrt() * (1 + 16 * UNIT)
    return bound


def convolution(operator: Convolution, outputs: tuple[int, int], steps: int) -> float:
    """No less than the norm of a convolution with its own stride, padding, dilation and groups. outputs: their size.

    A stride of s is a stride of one over s x s times the channels, each a phase of the input; and a convolution of
    an image within zeros is part of one that wraps around a torus on which nothing meets. That one is a matrix for
    each frequency, as in the paper, where images wrap.
    """
    taps, sides = _phases(operator), []
    for axis in (0, 1):
        stride, before = operator.stride[axis], operator.padding[axis]
        first, last = before // stride, (before + operator.size[axis] - 1) // stride
        sides.append(max(taps.shape[axis - 2] + outputs[axis] - 1 - first, last + 1, taps.shape[axis - 2]))
    waves = [_waves(sides[0], taps.shape[-2], sides[0]), _waves(sides[1], taps.shape[-1], sides[1] // 2 + 1)]
    symbols = torch.einsum("goiyx,hy,wx->hwgoi", taps.to(torch.complex128), *waves)
    error = 4 * (taps[0, 0, 0].numel() + 8) * UNIT * _frobenius(taps.abs().sum((-2, -1)))
    return float((spectral(symbols, steps) + error).max())


def _phases(operator: Convolution) -> Float64[Tensor, "groups outputs inputs rows columns"]:
    """The kernel as one of stride one, of an image of which each phase is a channel."""
    weight = operator.weight
    groups, (tall, wide) = operator.groups, operator.weight.shape[-2:]
    (down, right), (down_by, right_by) = operator.dilation, operator.stride
    rows, columns = (math.ceil((d * (k - 1) + 1) / s) for k, d, s in ((tall, down, down_by), (wide, right, right_by)))
    dilated = weight.new_zeros(*weight.shape[:2], rows * down_by, columns * right_by)
    dilated[..., : down * (tall - 1) + 1 : down, : right * (wide - 1) + 1 : right] = weight
    phases = dilated.reshape(groups, -1, weight.shape[1], rows, down_by, columns, right_by)
    return phases.permute(0, 1, 2, 4, 6, 3, 5).reshape(groups, len(weight) // groups, -1, rows, columns)


def _waves(side: int, taps: int, frequencies: int) -> Tensor:
    """exp(2 pi i f t / side) for each frequency f and tap t."""
    turns = torch.arange(frequencies)[:, None] * torch.arange(taps) % side
    return torch.polar(torch.ones(turns.shape, dtype=torch.float64), 2 * math.pi * turns.double() / side)


def _frobenius(a: Tensor) -> Float64[Tensor, "*batch"]:
    """No less than the Frobenius norm of the last two axes."""
    values = torch.view_as_real(a).flatten(-3) if a.is_complex() else a.flatten(-2)
    length: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return length * (1 + (values.shape[-1] + 8) * UNIT)
