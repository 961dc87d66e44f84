"""What is to be shown of a network: that no input of some boxes gives outputs that are unsafe."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from brinell.errors import UsageError
from brinell.verify.builder import Builder, Value
from brinell.verify.graph import Graph, graph
from brinell.verify.operators import Linear


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


def _rows(case: Case) -> Float64[Tensor, "rows affine"]:
    """The weights and the offset of each row; one of zeros, which is never positive, where there is none."""
    rows = torch.cat((case.weights, case.offsets.unsqueeze(1)), 1)
    return rows if len(rows) else rows.new_zeros(1, rows.shape[1])
