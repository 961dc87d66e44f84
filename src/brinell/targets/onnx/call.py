"""One operator of an ONNX file, as its rule sees it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor

from brinell.errors import CannotRun
from brinell.targets.onnx.tape import Tape

aten = torch.ops.aten


class Foreign(CannotRun):
    """A model that the importer cannot read, or reads differently from onnxruntime."""


@final
@dataclass(frozen=True)
class Call:
    """attributes: by name, as Python values. version: the operator set. rows: the batch that the model was made for."""

    attributes: Mapping[str, Any]
    version: int
    rows: int
    tape: Tape

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def depends(self, x: object) -> bool:
        """Whether a tensor depends on the network's input: its first axis then counts examples."""
        return self.tape.depends(x)

    def do(self, operator: Any, *args: Any, options: Mapping[str, Any] = MappingProxyType({})) -> Tensor:
        """The value of one of PyTorch's operators, recorded if it depends on the network's input."""
        return self.tape(operator, *args, options=options)

    def whole(self, x: Tensor | None, name: str) -> list[int]:
        """A constant input as whole numbers."""
        if x is None or self.depends(x):
            raise Foreign(f"its {name} is no constant")
        return [int(n) for n in x.flatten().tolist()]

    def axes(self, x: Tensor | None, default: Sequence[int] = ()) -> list[int]:
        """The axes named by an attribute (in older operator sets) or by an input."""
        named = self.get("axes")
        if named is None:
            named = default if x is None else self.whole(x, "list of axes")
        return [int(axis) for axis in named]

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """A shape for the model's own batch, read as one for any batch."""
        if not self.depends(x):
            return x.reshape(list(shape))
        example = x.shape[1:].numel()
        first = shape[0]
        rest = list(shape[1:])
        known = torch.Size(n for n in rest if n != -1).numel()
        if first == self.rows and -1 in rest and known:
            rest[rest.index(-1)] = example // known
        if first not in (-1, self.rows) or torch.Size(rest).numel() != example:
            raise Foreign(f"shape {tuple(x.shape[1:])} of an example becomes {tuple(shape)}, which mixes examples")
        return self.do(aten.reshape.default, x, [-1, *rest])

    def shape(self, x: Tensor) -> list[int]:
        """As the model sees it, with its own batch."""
        return [self.rows, *x.shape[1:]] if self.depends(x) else list(x.shape)


Rule = Callable[..., Tensor | Sequence[Tensor]]
"""(call, input, …) -> the output, or several of them. An input left out is None."""
