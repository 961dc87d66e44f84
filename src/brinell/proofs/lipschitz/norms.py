"""Upper bounds on operator norms, sound as computed in float64.

Power iteration approaches a norm from below, and would certify too much. Gram iteration approaches it from above
(Delattre et al. 2023, arXiv:2305.16173): with G_0 = W and G_{t+1} = G_t* G_t, the norm is at most |G_t|_F^(1 / 2^t).
"""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.proofs.network.operators import Convolution

UNIT = torch.finfo(torch.float64).eps / 2
"""The relative error of one rounding."""


def spectral(matrices: Tensor, steps: int) -> Float64[Tensor, "*batch"]:
    """An upper bound on the largest singular value of each matrix (the last two axes), real or complex.

    After t steps it is within a factor r^(1 / 2^(t + 1)) for rank r. Rounding is added in every step: a matrix product
    over n terms errs by at most n units times the Frobenius norms of its factors (Higham 2002, section 3.5).
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
    """An upper bound on the norm of a convolution with its stride, padding, dilation and groups.

    outputs: the size of its output, (rows, columns).

    1. A convolution of stride s is one of stride 1 over s x s times as many channels, the phases of the input.
    2. A zero-padded convolution is a restriction of one that wraps around a torus, if the torus is so large that no
       window wraps onto another part of the image; its norm is at most that one's.
    3. On a torus the Fourier transform turns it into one matrix for each frequency, as in the paper.
    """
    taps = _phases(operator)
    sides = []
    for axis in (0, 1):
        stride = operator.stride[axis]
        before = operator.padding[axis]
        first = before // stride
        last = (before + operator.size[axis] - 1) // stride
        sides.append(max(taps.shape[axis - 2] + outputs[axis] - 1 - first, last + 1, taps.shape[axis - 2]))
    waves = [_waves(sides[0], taps.shape[-2], sides[0]), _waves(sides[1], taps.shape[-1], sides[1] // 2 + 1)]
    symbols = torch.einsum("goiyx,hy,wx->hwgoi", taps.to(torch.complex128), *waves)
    error = 4 * (taps[0, 0, 0].numel() + 8) * UNIT * _frobenius(taps.abs().sum((-2, -1)))
    return float((spectral(symbols, steps) + error).max())


def _phases(operator: Convolution) -> Float64[Tensor, "groups outputs inputs rows columns"]:
    """The kernel as one of stride 1 over the phases of the image, which are channels."""
    weight = operator.weight
    groups = operator.groups
    tall, wide = operator.weight.shape[-2:]
    down, right = operator.dilation
    down_by, right_by = operator.stride
    rows = math.ceil((down * (tall - 1) + 1) / down_by)
    columns = math.ceil((right * (wide - 1) + 1) / right_by)

    dilated = weight.new_zeros(*weight.shape[:2], rows * down_by, columns * right_by)
    dilated[..., : down * (tall - 1) + 1 : down, : right * (wide - 1) + 1 : right] = weight
    phases = dilated.reshape(groups, -1, weight.shape[1], rows, down_by, columns, right_by)
    return phases.permute(0, 1, 2, 4, 6, 3, 5).reshape(groups, len(weight) // groups, -1, rows, columns)


def _waves(side: int, taps: int, frequencies: int) -> Tensor:
    """exp(2 pi i f t / side) for each frequency f and tap t."""
    turns = torch.arange(frequencies)[:, None] * torch.arange(taps) % side
    return torch.polar(torch.ones(turns.shape, dtype=torch.float64), 2 * math.pi * turns.double() / side)


def _frobenius(a: Tensor) -> Float64[Tensor, "*batch"]:
    """An upper bound on the Frobenius norm of the last two axes."""
    values = torch.view_as_real(a).flatten(-3) if a.is_complex() else a.flatten(-2)
    length: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return length * (1 + (values.shape[-1] + 8) * UNIT)
