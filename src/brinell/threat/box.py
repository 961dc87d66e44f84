"""The valid box: the range every input must keep to, whatever an adversary does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import final

import torch
from torch import Tensor

from brinell.arguments import Checked
from brinell.errors import UsageError
from brinell.types import Inputs, Mask

Limit = float | tuple[float, ...]


@final
@dataclass(frozen=True)
class Box(Checked):
    """Lowest and highest valid value, in the user's input units: one number each, or one a feature (in flat order).

    A limit means the number nearest to it that an input can hold: 0.1 bounds float32 inputs at float32(0.1).
    """

    low: Limit
    high: Limit

    def __post_init__(self) -> None:
        for side in ("low", "high"):
            object.__setattr__(self, side, _limit(getattr(self, side)))
        lows = _flat(self.low)
        highs = _flat(self.high)
        if len(lows) != len(highs) and 1 not in (len(lows), len(highs)):
            raise UsageError(
                f"box has {len(lows)} low and {len(highs)} high values; give one number each, or one a feature"
            )
        for low, high in self._sides():
            if not low < high:
                raise UsageError(f"box is empty: its low {low} is not below its high {high}; give (low, high)")

    @classmethod
    def of(cls, bounds: "Box | tuple[float | Sequence[float], float | Sequence[float]]") -> "Box":
        """A box from (low, high), each a number or a sequence with one number a feature."""
        if isinstance(bounds, Box):
            return bounds
        try:
            low, high = bounds
            return cls(_limit(low), _limit(high))
        except (TypeError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"box is {bounds!r}; it must be a pair (low, high)") from None

    @property
    def bounded(self) -> bool:
        """Whether every side is finite."""
        return all(map(math.isfinite, (*_flat(self.low), *_flat(self.high))))

    @property
    def width(self) -> float:
        """The widest side."""
        return max(high - low for low, high in self._sides())

    @property
    def largest(self) -> float:
        """The largest absolute value it holds."""
        return max(map(abs, (*_flat(self.low), *_flat(self.high))))

    def rescaled(self, unit: float) -> "Box":
        """The same box, of inputs that are divided by `unit`."""
        return Box(_divided(self.low, unit), _divided(self.high, unit))

    def limits(self, like: Inputs) -> tuple[Tensor, Tensor]:
        """(low, high) as tensors that broadcast against a batch like `like`, in its dtype."""
        return _tensor(self.low, like), _tensor(self.high, like)

    def clamp(self, x: Inputs) -> Inputs:
        """The nearest point of the box."""
        if isinstance(self.low, float) and isinstance(self.high, float):
            return x.clamp(self.low, self.high)
        return x.clamp(*self.limits(x))

    def contains(self, x: Inputs) -> Mask:
        """Whether every value lies in the box, with no tolerance. NaN is outside."""
        low, high = self.limits(x)
        return ((x >= low) & (x <= high)).flatten(1).all(1)

    def inward(self, x: Inputs, g: Inputs) -> Inputs:
        """g without the parts that lead out of the box from x: what an ascent from x can follow."""
        return between(*self.limits(x), x, g)

    def _sides(self) -> list[tuple[float, float]]:
        lows = _flat(self.low)
        highs = _flat(self.high)
        return [(lows[i % len(lows)], highs[i % len(highs)]) for i in range(max(len(lows), len(highs)))]


def between(low: Tensor, high: Tensor, x: Inputs, g: Inputs) -> Inputs:
    """g without the parts that lead out of [low, high] from x."""
    return torch.where(((g > 0) & (x >= high)) | ((g < 0) & (x <= low)), torch.zeros_like(g), g)


def _limit(value: float | Sequence[float]) -> Limit:
    if isinstance(value, int | float | Real):
        return float(value)
    return tuple(float(v) for v in value)


def _flat(limit: Limit) -> tuple[float, ...]:
    return (limit,) if isinstance(limit, float) else limit


def _divided(limit: Limit, unit: float) -> Limit:
    return limit / unit if isinstance(limit, float) else tuple(one / unit for one in limit)


def _tensor(limit: Limit, like: Inputs) -> Tensor:
    if isinstance(limit, float):
        return torch.tensor(limit, dtype=like.dtype, device=like.device)
    shape = like.shape[1:]
    if len(limit) != math.prod(shape):
        raise UsageError(f"box has {len(limit)} values a side; one example has {math.prod(shape)} features")
    return torch.tensor(limit, dtype=like.dtype, device=like.device).reshape(shape)


REALS = Box(-math.inf, math.inf)
"""No limits."""
