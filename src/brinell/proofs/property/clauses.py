"""Clauses of a VNN-LIB property, in exact numbers: bounds of inputs, and linear inequalities of outputs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import final

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.proofs.network.operators import Interval
from brinell.proofs.property.property import Inequality


@final
@dataclass(frozen=True)
class Comparison:
    """sum of coefficient * variable <= limit, or < where it is strict, in the file's numbers. at: its position."""

    coefficients: tuple[tuple[str, Fraction], ...]
    limit: Fraction
    strict: bool
    at: int

    @cached_property
    def inequality(self) -> Inequality:
        """The same, where all variables are outputs."""
        return Inequality(tuple((int(name[2:]), a) for name, a in self.coefficients), self.limit, self.strict)


@final
@dataclass(frozen=True)
class Bound:
    """A lower or upper bound of an input; strict where the input may not equal it. at: its position in the file."""

    limit: Fraction
    strict: bool
    at: int

    def float64(self, towards: float, exact: bool) -> float:
        """The nearest float64 within the bound: of the decimal number where `exact`, else of its float64.

        towards: inf for a lower bound, -inf for an upper one.
        """
        nearest = as_float(self.limit)
        if not math.isfinite(nearest):
            return nearest
        excess = (Fraction(nearest) - self.limit) * (1 if towards > 0 else -1) if exact else 0
        violates = excess < 0 or (self.strict and excess <= 0)
        return math.nextafter(nearest, towards) if violates else nearest


Clause = list[Comparison]
"""A conjunction."""


@final
@dataclass(frozen=True)
class Limits:
    """A clause, sorted: lower and upper bounds of inputs, by index, and comparisons of outputs."""

    low: dict[int, Bound] = field(default_factory=dict)
    high: dict[int, Bound] = field(default_factory=dict)
    rows: list[Comparison] = field(default_factory=list)

    def crossed(self, *others: "Limits") -> int | None:
        """An input, bounded here, that has no value left under these limits and the others; None without any."""
        for i in {**self.low, **self.high}:
            lows = [limits.low[i] for limits in (self, *others) if i in limits.low]
            highs = [limits.high[i] for limits in (self, *others) if i in limits.high]
            if lows and highs:
                low = max(lows, key=tightness_below)
                high = min(highs, key=tightness_above)
                if low.limit > high.limit or (low.limit == high.limit and (low.strict or high.strict)):
                    return i
        return None


def as_float(number: Fraction) -> float:
    """The nearest float64; infinite beyond the largest."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def tightness_above(bound: Bound) -> tuple[Fraction, bool]:
    """The order of upper bounds: the least is the tightest, and of equal ones the strict."""
    return bound.limit, not bound.strict


def tightness_below(bound: Bound) -> tuple[Fraction, bool]:
    """The order of lower bounds: the greatest is the tightest, and of equal ones the strict."""
    return bound.limit, bound.strict


def everywhere(inputs: int) -> list[Interval]:
    """Three boxes, for `boxes_with`, without any limits."""
    high = torch.full((inputs,), torch.inf, dtype=torch.float64)
    return [(-high, high)] * 3


def boxes_with(boxes: list[Interval], said: Limits) -> list[Interval]:
    """The boxes intersected with a clause's bounds, as three readings of them.

    First the closed box of the nearest float64s, for proofs; then the float64s within the decimal numbers; then the
    float64s within the nearest float64s, both without the ends that are strict.
    """
    made = []
    for place, (low, high) in enumerate(boxes):
        lows, highs = (
            {i: bound.float64(towards, place == 1) if place else as_float(bound.limit) for i, bound in bounds.items()}
            for towards, bounds in ((math.inf, said.low), (-math.inf, said.high))
        )
        made.append((_tightened(low, lows, torch.maximum), _tightened(high, highs, torch.minimum)))
    return made


def _tightened(
    limit: Float64[Tensor, " inputs"], said: Mapping[int, float], tighter: Callable[[Tensor, Tensor], Tensor]
) -> Float64[Tensor, " inputs"]:
    """The limits of all inputs, tightened by those of some."""
    if not said:
        return limit
    places = torch.tensor(list(said))
    values = torch.tensor(list(said.values()), dtype=torch.float64)
    return limit.index_put((places,), tighter(limit[places], values))


def output_rows(said: list[Comparison], outputs: int) -> tuple[Tensor, Tensor]:
    """(weights, offsets) of comparisons of outputs: weights @ outputs + offsets <= 0, in float64."""
    weights = torch.zeros(len(said), outputs, dtype=torch.float64)
    for row, comparison in enumerate(said):
        for name, a in comparison.coefficients:
            weights[row, int(name[2:])] = float(a)
    return weights, torch.tensor([as_float(-comparison.limit) for comparison in said], dtype=torch.float64)
