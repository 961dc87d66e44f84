"""What is to be shown of a network: that no input of some boxes gives outputs that are unsafe."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from brinell.errors import UsageError
from brinell.proofs.builder import Builder, Value
from brinell.proofs.graph import Graph, graph
from brinell.proofs.operators import Linear


@final
@dataclass(frozen=True, eq=False)
class Case:
    """Inputs in [low, high] are unsafe if every row of weights @ outputs + offsets is <= 0.

    Inputs and outputs in flat order. With no row every input is unsafe.
    """

    low: Float64[Tensor, " inputs"]
    high: Float64[Tensor, " inputs"]
    weights: Float64[Tensor, "rows outputs"]
    offsets: Float64[Tensor, " rows"]

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
