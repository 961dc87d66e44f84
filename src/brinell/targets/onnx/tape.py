"""What an importer writes down: PyTorch's operators run on an example, and recorded where they depend on the input."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

BATCH = 2
"""Rows of the example: one that no constant axis is mistaken for."""


@final
@dataclass
class Tape:
    """A module as it grows. What depends on constants only is computed at once, and not recorded."""

    graph: fx.Graph = field(default_factory=fx.Graph)
    root: nn.Module = field(default_factory=nn.Module)
    source: tuple[str, str] = ("", "")
    """(name, kind) of the foreign operator being read."""

    def __post_init__(self) -> None:
        # The tensors are kept, so that their ids stay their own.
        self._recorded: dict[int, tuple[Tensor, fx.Node]] = {}
        self._constants: dict[int, tuple[Tensor, fx.Node]] = {}

    def input(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The module's input, as an example of BATCH rows."""
        x = torch.zeros(BATCH, *shape, dtype=dtype)
        return self._record(self.graph.placeholder("x"), x)

    def depends(self, x: object) -> bool:
        """Whether a tensor depends on the input."""
        return id(x) in self._recorded

    def __call__(self, operator: Any, *args: Any, options: Mapping[str, Any] = MappingProxyType({})) -> Tensor:
        """The operator's value on the example. options: its arguments that have to be named."""
        value: Tensor = operator(*args, **options)
        flat = tree_leaves(args)
        if not any(self.depends(x) for x in flat):
            return value
        return self._record(self.graph.call_function(operator, tree_map(self._node, args), dict(options)), value)

    def module(self, output: Tensor) -> fx.GraphModule:
        """The module that computes `output`."""
        self.graph.output(self._node(output))
        self.graph.eliminate_dead_code()
        module = fx.GraphModule(self.root, self.graph, "OnnxModule").eval()
        module.meta["recorded"] = True
        return module

    def _record(self, node: fx.Node, value: Tensor) -> Tensor:
        value = value.detach()
        node.meta["val"] = value.to("meta")
        node.meta["nn_module_stack"] = {"": self.source}
        self._recorded[id(value)] = (value, node)
        return value

    def _node(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if id(x) not in self._recorded and id(x) not in self._constants:
            name = f"constant_{len(self._constants)}"
            self.root.register_buffer(name, x.detach().clone())
            self._constants[id(x)] = (x, self.graph.get_attr(name))
        return (self._recorded.get(id(x)) or self._constants[id(x)])[1]
