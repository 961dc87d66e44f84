"""What a search for a proof reports to its caller while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float64
from torch import Tensor

Query = Callable[[Float64[Tensor, "points inputs"]], None]
"""Called with candidate witnesses, in flat order; it may raise, to stop the search."""


def no_query(points: Float64[Tensor, "points inputs"]) -> None:
    """Ignore the candidates: for callers that want bounds alone."""


@final
@dataclass
class SearchProgress:
    """query: called with inputs that may be witnesses. bound: the lower bound on all margins, kept up to date."""

    query: Query = no_query
    bound: float = -torch.inf
