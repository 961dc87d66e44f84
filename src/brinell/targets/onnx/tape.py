"""What an importer writes down: PyTorch's operators run on an example, and recorded where they depend on the input."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
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
        self._writing = False

    def input(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The module's input, as an example of BATCH rows."""
        x = torch.zeros(BATCH, *shape, dtype=dtype)
        return self._record(self.graph.placeholder("x"), x)

    def depends(self, x: object) -> bool:
        """Whether a tensor depends on the input."""
        return id(x) in self._recorded

    def __call__(self, operator: Any, *args: Any, options: Mapping[str, Any] = MappingProxyType({})) -> Tensor:
        """The operator's value on the example. options: its arguments that have to be named."""
        with self._written():
            value: Tensor = operator(*args, **options)
        flat = tree_leaves(args)
        if not any(self.depends(x) for x in flat):
            return value
        return self._record(self.graph.call_function(operator, tree_map(self._node, args), dict(options)), value)

    def watched(self) -> TorchDispatchMode:
        """While it is on, nothing is computed of the input's that is not written down: it would become a constant."""
        return _Watch(self)

    @property
    def writing(self) -> bool:
        """Whether an operator runs that is written down."""
        return self._writing

    @contextmanager
    def _written(self) -> Iterator[None]:
        before = self._writing
        self._writing = True
        try:
            yield
        finally:
            self._writing = before

    def module(self, output: Tensor) -> fx.GraphModule:
        """The module that computes `output`."""
        self.graph.output(self._node(output))
        self.graph.eliminate_dead_code()
        module = fx.GraphModule(self.root, self.graph, "OnnxModule").eval()
        module.meta["recorded"] = True
        return module

    def _record(self, node: fx.Node, value: Tensor) -> Tensor:
        with self._written():
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


@final
class _Watch(TorchDispatchMode):
    def __init__(self, tape: Tape) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tape = tape

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._tape.writing and any(self._tape.depends(x) for x in tree_leaves((args, kwargs))):
            raise RuntimeError(f"{func} of a value that depends on the input is not written down")
        return func(*args, **(kwargs or {}))
