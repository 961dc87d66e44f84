"""What a search for a proof lets its caller see while it goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float64
from torch import Tensor

Query = Callable[[Float64[Tensor, "points inputs"]], None]
"""Is shown points, in flat order; it may raise, to stop."""


def no_query(points: Float64[Tensor, "points inputs"]) -> None:
    """For who wants bounds alone."""


@final
@dataclass
class Progress:
    """look: is shown inputs that may be witnesses. bound: a lower bound of all that is asked about, as known so far."""

    query: Query = no_query
    bound: float = -torch.inf
