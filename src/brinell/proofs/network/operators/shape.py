"""Operators that only move values: each output value is one input value, or zero."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F

from brinell.proofs.network.operators.base import Affine, Coefficients, Constants, Values


@final
@dataclass(frozen=True)
class Reshape(Affine):
    """One example of shape `before` read as shape `after`, in the same order."""

    mixes: ClassVar[bool] = False
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def summands(self) -> int:
        return 0

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.reshape(len(x), *self.after)

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        return self.forward(*sizes)

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        return (a.reshape(*a.shape[:2], *self.before),), a.new_zeros(a.shape[:2])


@final
@dataclass(frozen=True)
class Permute(Affine):
    """Axes in another order; `order` counts one example's axes from 0."""

    mixes: ClassVar[bool] = False
    order: tuple[int, ...]

    @property
    def summands(self) -> int:
        return 0

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.permute(0, *(axis + 1 for axis in self.order))

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        return self.forward(*sizes)

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        return (a.permute(0, 1, *(axis + 2 for axis in inverse)),), a.new_zeros(a.shape[:2])


@final
@dataclass(frozen=True)
class Pick(Affine):
    """Every `step`-th slice from `start` along `axis` (of one example), `count` of them out of `total`."""

    mixes: ClassVar[bool] = False
    axis: int
    start: int
    step: int
    count: int
    total: int

    @property
    def summands(self) -> int:
        return 0

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x[(slice(None),) * (self.axis + 1) + (self._kept(),)]

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        return self.forward(*sizes)

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        axis = self.axis + 2
        back = a.new_zeros(*a.shape[:axis], self.total, *a.shape[axis + 1 :])
        back[(slice(None),) * axis + (self._kept(),)] = a
        return (back,), a.new_zeros(a.shape[:2])

    def _kept(self) -> slice:
        return slice(self.start, self.start + (self.count - 1) * self.step + 1, self.step)


@final
@dataclass(frozen=True)
class Pad(Affine):
    """Zeros around: (before, after) for each of the last axes, the last axis first, all >= 0."""

    mixes: ClassVar[bool] = False
    sides: tuple[tuple[int, int], ...]

    @property
    def summands(self) -> int:
        return 0

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return F.pad(x, [side for sides in self.sides for side in sides])

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        return self.forward(*sizes)

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        return (F.pad(a, [-side for sides in self.sides for side in sides]),), a.new_zeros(a.shape[:2])


@final
@dataclass(frozen=True)
class Concatenate(Affine):
    """Values joined along `axis` (of one example); `counts` is the length of each there."""

    mixes: ClassVar[bool] = False
    axis: int
    counts: tuple[int, ...]

    @property
    def summands(self) -> int:
        return 0

    def forward(self, *inputs: Values) -> Values:
        return torch.cat(inputs, self.axis + 1)

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        return self.forward(*sizes)

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        return torch.split(a, list(self.counts), self.axis + 2), a.new_zeros(a.shape[:2])


@final
@dataclass(frozen=True)
class Expand(Affine):
    """Values repeated along axes of length 1, as broadcasting does: from shape `before` to `after`, of as many axes."""

    mixes: ClassVar[bool] = False
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def summands(self) -> int:
        return 0

    @property
    def terms(self) -> int:
        return torch.Size(self.after).numel() // torch.Size(self.before).numel()

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.expand(len(x), *self.after)

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        return self.forward(*sizes)

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        sizes = enumerate(zip(self.before, self.after, strict=True))
        repeated = [axis + 2 for axis, (before, after) in sizes if before != after]
        return (a.sum(repeated, keepdim=True) if repeated else a,), a.new_zeros(a.shape[:2])
