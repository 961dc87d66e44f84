"""Whether our reading of a model computes what the model does: output by output, and by numbers alone."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

_NOISE = 100.0
"""How many times what rounding does to our own reading, at the same points, it may do to the model."""

_SHIFT = 2.0**-27
"""By how much a runtime may miss a sigmoid, a tanh or an erf, of which a polynomial is computed: a part of their range
of one, and not of their own size. onnxruntime ends the sigmoid at 1.5e-8, whatever lies below."""


def as_approximated(values: Tensor) -> Tensor:
    """What a runtime may give for these outputs of such a function: it is not relatively true in the tails."""
    return values + _SHIFT


@final
@dataclass(frozen=True, eq=False)
class Agreement:
    """gap: the largest difference that is no rounding, 0 where there is none. seen: the outputs of which some point
    gave a number.
    """

    gap: float
    seen: Bool[Tensor, " outputs"]

    def and_(self, other: "Agreement") -> "Agreement":
        """Of both groups of points."""
        return Agreement(max(self.gap, other.gap), self.seen | other.seen)


def agreement(
    ours: Float64[Tensor, "points outputs"],
    rough: Float64[Tensor, "points outputs"],
    theirs: Float64[Tensor, "points outputs"],
    dtype: torch.dtype,
    tolerance: float,
) -> Agreement:
    """Compare a group of points of about one size.

    ours: our reading in float64. rough: the same computed in float32, by which it is known what rounding does there,
    and with bounded curves `as_approximated`.
    theirs: what the model gives, which computes in `dtype`. tolerance: a share of an output's largest value.
    Where the model gives no number, ours agrees only if float32 takes it to the same. A difference that is no number
    counts as infinite.
    """
    finite = ours.isfinite() & theirs.isfinite()
    noise = (ours - rough).abs().where(finite & rough.isfinite(), 0.0).amax(0)
    noise = noise * max(1.0, torch.finfo(dtype).eps / torch.finfo(torch.float32).eps)
    if dtype is torch.float64:
        noise = noise * torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
    size = theirs.abs().where(finite, 0.0).amax(0)
    allowed = tolerance * size + _NOISE * noise + torch.finfo(dtype).tiny
    gap = (ours - theirs).abs()
    same = (gap <= allowed) | (ours == theirs) | (ours.isnan() & theirs.isnan())
    same |= ~theirs.isfinite() & ((rough == theirs) | (rough.isnan() & theirs.isnan()))
    beyond = gap.where(~same, 0.0).nan_to_num(torch.inf, torch.inf, torch.inf)
    return Agreement(float(beyond.max()) if beyond.numel() else 0.0, finite.any(0))
