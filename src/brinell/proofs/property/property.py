"""A property of a network: no input of some boxes has unsafe outputs."""

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
    """sum of coefficient * output <= limit, or < where it is strict, in exact numbers; outputs by their index."""

    coefficients: tuple[tuple[int, Fraction], ...]
    limit: Fraction
    strict: bool

    def holds(self, y: Float64[Tensor, " outputs"]) -> bool:
        """Whether finite outputs satisfy it, computed without rounding."""
        total = sum((a * Fraction(float(y[i])) for i, a in self.coefficients), Fraction(0))
        return total < self.limit if self.strict else total <= self.limit


@final
@dataclass(frozen=True, eq=False)
class Case:
    """Inputs in [low, high] are unsafe if every row of weights @ outputs + offsets is <= 0.

    Inputs and outputs in flat order. With no row every input is unsafe. A proof covers this closed set; a witness may
    have to satisfy a stricter statement. inner: boxes for witnesses, float64, the tightest first; for each input the
    first one counts that holds a number of the model's precision. inequalities: of the outputs, in exact numbers.
    """

    low: Float64[Tensor, " inputs"]
    high: Float64[Tensor, " inputs"]
    weights: Float64[Tensor, "rows outputs"]
    offsets: Float64[Tensor, " rows"]
    inner: tuple[Interval, ...] = ()
    inequalities: tuple[Inequality, ...] = ()

    def inputs(
        self, precision: torch.dtype
    ) -> tuple[Float64[Tensor, " inputs"], Float64[Tensor, " inputs"], Bool[Tensor, " inputs"]]:
        """(the least and the largest value of a witness in a precision, whether there is one), for each input.

        Where there is none, both are the number nearest to the middle: a search may start there, but finds no witness.
        """
        return within(self.inner or ((self.low, self.high),), precision)

    def violated(self, y: Float64[Tensor, " outputs"]) -> bool:
        """Whether outputs are unsafe: they satisfy every row, in float64 and in exact numbers. NaN does not."""
        if not (y.isfinite().all() and (self.weights @ y + self.offsets <= 0).all()):
            return False
        return all(row.holds(y) for row in self.inequalities or self._own_inequalities)

    @property
    def _own_inequalities(self) -> tuple[Inequality, ...]:
        """The rows with their float64 numbers taken as exact."""
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
    """Safe if no case has an unsafe input. Raises UsageError for no case, or cases of different sizes."""

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
        """(the network followed by the distinct rows of all cases, the outputs of it that are each case's rows).

        A case is excluded over a region where one of its rows is positive throughout. Raises UsageError where the
        network has another number of inputs or outputs.
        """
        inputs = torch.Size(network.nodes[0].shape).numel()
        outputs = network.classes
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
    """Raise UsageError for a case that is empty, or has numbers that are not finite."""
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
    """The weights and the offset of each row; without any, one row of zeros, which is never positive."""
    rows = torch.cat((case.weights, case.offsets.unsqueeze(1)), 1)
    return rows if len(rows) else rows.new_zeros(1, rows.shape[1])


def within(
    boxes: Sequence[Interval], precision: torch.dtype
) -> tuple[Float64[Tensor, "..."], Float64[Tensor, "..."], Bool[Tensor, "..."]]:
    """(the least and the largest number of a precision in the first box that has one, whether any has one).

    Where none has, the number nearest to the middle of the last box.
    """
    low = high = ((boxes[-1][0] + boxes[-1][1]) / 2).to(precision).double()
    there = torch.zeros_like(low, dtype=torch.bool)
    for box in boxes:
        least, most = rounded_inward(*box, precision)
        chosen = (least <= most) & ~there
        low = torch.where(chosen, least, low)
        high = torch.where(chosen, most, high)
        there |= chosen
    return low, high, there


def rounded_inward(low: Tensor, high: Tensor, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """The interval rounded inward to a precision, in float64; crossed where it holds no such number."""
    least = low.to(precision)
    least = torch.where(least.double() < low, least.nextafter(torch.full_like(least, torch.inf)), least)

    most = high.to(precision)
    most = torch.where(most.double() > high, most.nextafter(torch.full_like(most, -torch.inf)), most)
    return least.double(), most.double()
