"""What is to be shown of a network: that no input of some boxes gives outputs that are unsafe."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from brinell.errors import UsageError
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.graph import Graph, graph
from brinell.proofs.network.operators import Interval, Linear


@final
@dataclass(frozen=True)
class Inequality:
    """sum of coefficient * output <= limit, or < where it is strict; outputs by their index."""

    coefficients: tuple[tuple[int, Fraction], ...]
    limit: Fraction
    strict: bool

    def holds(self, y: Float64[Tensor, " outputs"]) -> bool:
        """Of finite outputs, without any rounding."""
        total = sum((a * Fraction(float(y[i])) for i, a in self.coefficients), Fraction(0))
        return total < self.limit if self.strict else total <= self.limit


@final
@dataclass(frozen=True, eq=False)
class Case:
    """Inputs in [low, high] are unsafe if every row of weights @ outputs + offsets is <= 0.

    Inputs and outputs in flat order. With no row every input is unsafe. A proof is about this closed set. What a
    witness must keep to may be stated more closely. inner: boxes of float64s, one tighter than the next, the first of
    which counts for an input if it holds a number of the model's precision. rows: what outputs must satisfy, exactly.
    """

    low: Float64[Tensor, " inputs"]
    high: Float64[Tensor, " inputs"]
    weights: Float64[Tensor, "rows outputs"]
    offsets: Float64[Tensor, " rows"]
    inner: tuple[Interval, ...] = ()
    rows: tuple[Inequality, ...] = ()

    def inputs(
        self, precision: torch.dtype
    ) -> tuple[Float64[Tensor, " inputs"], Float64[Tensor, " inputs"], Bool[Tensor, " inputs"]]:
        """(the least and the largest number of a precision that a witness may have, whether there is one).

        Where there is none, the number nearest to the middle, at which a search may begin and no witness is.
        """
        return within(self.inner or ((self.low, self.high),), precision)

    def violated(self, y: Float64[Tensor, " outputs"]) -> bool:
        """Whether the outputs satisfy every row, as it is computed and as it is stated. NaN and infinity do not."""
        if not (y.isfinite().all() and (self.weights @ y + self.offsets <= 0).all()):
            return False
        return all(row.holds(y) for row in self.rows or self._own_rows)

    @property
    def _own_rows(self) -> tuple[Inequality, ...]:
        """The numbers of the rows taken for what they are."""
        return tuple(
            Inequality(tuple((i, Fraction(a)) for i, a in enumerate(row) if a), -Fraction(offset), False)
            for row, offset in zip(self.weights.tolist(), self.offsets.tolist(), strict=True)
        )

    @property
    def empty(self) -> bool:
        """Whether no input is in the box."""
        return bool((self.low > self.high).any())


@final
@dataclass(frozen=True, eq=False)
class Property:
    """Safe if no case holds an unsafe input."""

    cases: tuple[Case, ...]

    def __post_init__(self) -> None:
        if not self.cases:
            raise UsageError("a property has no case; give at least one")
        for place, case in enumerate(self.cases):
            _check(case, place)
        sizes = {(len(case.low), case.weights.shape[1]) for case in self.cases}
        if len(sizes) > 1:
            raise UsageError(
                f"the cases of a property speak of different numbers of inputs and outputs: {sorted(sizes)}"
            )

    def margins(self, network: Graph) -> tuple[Graph, tuple[Int64[Tensor, " rows"], ...]]:
        """(the network followed by every row of every case once, the outputs each case looks at).

        A case is excluded over a region where one of its outputs is positive throughout.
        """
        inputs, outputs = torch.Size(network.nodes[0].shape).numel(), network.classes
        rows = torch.cat([_rows(case) for case in self.cases])
        if len(self.cases[0].low) != inputs or rows.shape[1] - 1 != outputs:
            raise UsageError(
                f"the property has {len(self.cases[0].low)} inputs and {rows.shape[1] - 1} outputs; "
                f"the network has {inputs} and {outputs}"
            )
        distinct, place = rows.unique(dim=0, return_inverse=True)
        build = Builder(list(network.nodes))
        build.add(
            Linear(distinct[:, :-1].contiguous(), distinct[:, -1].contiguous()), Value(network.output, (outputs,))
        )
        return graph(build.nodes), place.split([len(_rows(case)) for case in self.cases])


def _check(case: Case, place: int) -> None:
    """Refuse a case that asks about nothing, or about what is no number."""
    numbers = (case.low, case.high, case.weights, case.offsets)
    if not all(bool(part.isfinite().all()) for part in numbers):
        raise UsageError(f"case {place} holds NaN or infinite numbers; every input needs a lowest and a highest value")
    if case.low.shape != case.high.shape or len(case.weights) != len(case.offsets):
        raise UsageError(
            f"case {place} has {len(case.low)} and {len(case.high)} limits, {len(case.weights)} rows and "
            f"{len(case.offsets)} offsets; there must be as many of either"
        )
    if case.empty:
        i = int((case.low > case.high).nonzero()[0])
        raise UsageError(
            f"case {place} holds no input: input {i} is to be at least {float(case.low[i]):g} and at most "
            f"{float(case.high[i]):g}; leave it out"
        )


def _rows(case: Case) -> Float64[Tensor, "rows affine"]:
    """The weights and the offset of each row; one of zeros, which is never positive, where there is none."""
    rows = torch.cat((case.weights, case.offsets.unsqueeze(1)), 1)
    return rows if len(rows) else rows.new_zeros(1, rows.shape[1])


def within(
    boxes: Sequence[Interval], precision: torch.dtype
) -> tuple[Float64[Tensor, "..."], Float64[Tensor, "..."], Bool[Tensor, "..."]]:
    """(the least and the largest number of a precision in the first box that holds one, whether any does).

    Where none does, the number nearest to the middle of the last.
    """
    low = high = ((boxes[-1][0] + boxes[-1][1]) / 2).to(precision).double()
    there = torch.zeros_like(low, dtype=torch.bool)
    for box in boxes:
        least, most = rounded_inward(*box, precision)
        chosen = (least <= most) & ~there
        low, high, there = torch.where(chosen, least, low), torch.where(chosen, most, high), there | chosen
    return low, high, there


def rounded_inward(low: Tensor, high: Tensor, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """The least number of a precision from `low` on, and the largest up to `high`: crossed where none is between."""
    least, most = low.to(precision), high.to(precision)
    up, down = torch.full_like(least, torch.inf), torch.full_like(most, -torch.inf)
    least = torch.where(least.double() < low, least.nextafter(up), least)
    most = torch.where(most.double() > high, most.nextafter(down), most)
    return least.double(), most.double()
