"""What each PyTorch operator means in our operators: one small file a family. A missing name is an error."""

from typing import Any

from brinell.proofs.network.aten import (
    activation,
    arithmetic,
    attention,
    convolution,
    linear,
    moving,
    normalisation,
    pooling,
    reduction,
)
from brinell.proofs.network.aten.arguments import Rule

RULES: dict[Any, Rule] = {
    **activation.RULES,
    **arithmetic.RULES,
    **attention.RULES,
    **convolution.RULES,
    **linear.RULES,
    **moving.RULES,
    **normalisation.RULES,
    **pooling.RULES,
    **reduction.RULES,
}
