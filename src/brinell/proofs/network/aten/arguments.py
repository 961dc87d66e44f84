"""What the arguments of PyTorch's operators mean for one example."""

from collections.abc import Callable, Sequence

from torch import Tensor

from brinell.proofs.network.builder import Value, constant
from brinell.proofs.network.graph import Unsupported
from brinell.proofs.network.operators.convolution import Pair

Argument = Value | Tensor | float | None
Rule = Callable[..., Value | list[Value]]
"""(builder, argument, …) -> the value, or several."""


def varying(x: Argument) -> Value:
    if not isinstance(x, Value):
        raise Unsupported(f"a {type(x).__name__} where a value of the network was expected")
    return x


def pair(sizes: Sequence[int] | int) -> Pair:
    first, second = (sizes, sizes) if isinstance(sizes, int) else (sizes[0], sizes[-1])
    return first, second


def own_axis(axis: int, x: Value) -> int:
    """An axis of the batch as an axis of one example."""
    axis = axis + len(x.shape) + 1 if axis < 0 else axis
    if axis == 0:
        raise Unsupported("the batch axis taken apart: examples would depend on one another")
    return axis - 1


def unbatched(shift: Argument, x: Value) -> Tensor:
    """A constant without its batch axis."""
    fixed = constant(shift)
    if fixed.dim() > len(x.shape):
        if fixed.dim() > len(x.shape) + 1 or fixed.shape[0] != 1:
            raise Unsupported(f"a constant of shape {tuple(fixed.shape)}, which differs between examples")
        fixed = fixed[0]
    return fixed
