"""From a PyTorch module to a graph, by `torch.export`."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from brinell.errors import CannotRun, UsageError, out_of_memory
from brinell.proofs.network.aten import RULES
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.graph import Graph, Unsupported, graph
from brinell.targets.agreement import Agreement, agreement
from brinell.threat import Box
from brinell.types import Inputs

_BATCH = 2
"""The batch size to export with: one that torch does not specialise on, as it does on 1."""


def trace(module: nn.Module, example: Inputs, box: Box | None = None) -> Graph:
    """The module in eval mode as a graph, compared with it on `example` and on random inputs.

    example: at least one input, with its batch axis. box: the valid inputs; without it the random inputs are like the
    example, and larger. The module is not changed. Raises Unsupported where an operator
    has no rule, naming it and the module that calls it, and for whatever else keeps the module from being read.
    """
    if example.dim() < 2 or len(example) == 0:
        raise UsageError(f"example has shape {tuple(example.shape)}; it must be a batch of at least one input")
    with _evaluating(module), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export speaks of its own deprecations
        with _refusing(f"{type(module).__name__} cannot be read"):
            found = _read(module, example[:1].repeat(_BATCH, *(1,) * (example.dim() - 1)))
        _check(found, module, example, box or Box(-torch.inf, torch.inf))
    return found


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn what foreign operators raise into Unsupported; but not our own errors, nor a lack of memory."""
    try:
        yield
    except (CannotRun, UsageError):
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise Unsupported(f"{what}: {_headline(error)}") from error


def _read(module: nn.Module, batch: Inputs) -> Graph:
    recorded = _recorded(module, batch)
    operators, held = _exported(module, batch) if recorded is None else recorded
    build = Builder()
    values: dict[Any, Any] = {}
    result = None
    for node in operators:
        if node.op == "output":
            returned = [node.args[0]] if isinstance(node.args[0], fx.Node) else node.args[0]
            result = values[returned[0]] if isinstance(returned, (list, tuple)) and len(returned) == 1 else None
        elif node.name in held:
            values[node] = held[node.name]
        elif node.op == "placeholder":
            values[node] = build.input(batch.shape[1:])
        elif node.op == "call_function":
            values[node] = _call(build, node, values)
    if not isinstance(result, Value) or len(result.shape) != 1:
        raise Unsupported(f"{type(module).__name__} returns something other than one score a class")
    return graph(build.nodes[: result.place + 1])


def _exported(module: nn.Module, batch: Inputs) -> tuple[Iterable[fx.Node], dict[str, Any]]:
    """(PyTorch's operators in order, the constants by the name of their node)."""
    try:
        exported = torch.export.export(module, (batch,))
        if any(node.op == "call_function" and node.target not in RULES for node in exported.graph.nodes):
            exported = exported.run_decompositions({})  # slow, and seldom needed: it writes mutation out of the graph
    except Exception as error:
        if out_of_memory(error):
            raise
        raise Unsupported(f"torch.export cannot read {type(module).__name__}: {_headline(error)}") from error
    signature = exported.graph_signature
    tensors = {**exported.state_dict, **exported.constants}
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    return exported.graph.nodes, {node: tensors[name] for node, name in names.items()}


def _recorded(module: nn.Module, batch: Inputs) -> tuple[Iterable[fx.Node], dict[str, Any]] | None:
    """The same of a module that an importer wrote down in PyTorch's operators, which needs no export."""
    if not isinstance(module, fx.GraphModule) or not module.meta.get("recorded"):
        return None
    nodes = list(module.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    whole = all(
        isinstance(node.meta.get("val"), Tensor) for node in nodes if node.op in ("placeholder", "call_function")
    )
    if not whole or len(inputs) != 1 or inputs[0].meta["val"].shape != batch.shape:
        return None
    return nodes, {node.name: module.get_buffer(node.target) for node in nodes if node.op == "get_attr"}


def _call(build: Builder, node: fx.Node, values: dict[Any, Any]) -> Any:
    """The value of one exported operator: computed at once where it depends on constants only."""
    args = fx.map_arg(node.args, values.__getitem__)
    options = fx.map_arg(node.kwargs, values.__getitem__)
    if not any(isinstance(values[used], Value) for used in node.all_input_nodes):
        assert callable(node.target)
        return node.target(*args, **options)
    if node.target not in RULES:
        raise Unsupported(f"no rule for {_place(node)}")
    shape = _shape(node)
    build.expected = shape[1:]
    try:
        with _refusing("its arguments are none that a rule is known for"):
            value = RULES[node.target](build, *args, **options)
    except Unsupported as error:
        raise Unsupported(f"cannot bound {_place(node)}: {error}") from None
    if shape != (_BATCH, *(value[0] if isinstance(value, list) else value).shape):
        raise Unsupported(f"{_place(node)} gives shape {shape}, not one row an example")
    return value


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta["val"]
    return tuple((value if isinstance(value, Tensor) else value[0]).shape)


def _place(node: fx.Node) -> str:
    """The operator, and the module that calls it."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    if not stack:
        return str(node.target)
    path, kind = stack[-1]
    name = kind if isinstance(kind, str) else kind.__name__
    return f"{node.target} in {path or 'the top module'} ({name.rpartition('.')[2]})"


def _headline(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _check(found: Graph, module: nn.Module, example: Inputs, box: Box) -> None:
    """Run both, and compare them output by output: on the example, and wherever else the module runs at all."""
    name = type(module).__name__
    tolerance = 1e4 * torch.finfo(example.dtype).eps
    with _refusing(f"{name} cannot be run"):
        agreed = _compared(found, module, example, tolerance)
    for x in _others(example, box):
        try:
            agreed = agreed.and_(_compared(found, module, x, tolerance))
        except Exception as error:  # it does not run there, which is no difference
            if out_of_memory(error):
                raise
    if agreed.gap > 0:
        raise Unsupported(
            f"the graph of {name} differs from it by {agreed.gap:g}; "
            "does it depend on the batch, on chance, or on values it computes in Python?"
        )
    if not agreed.seen.all():
        raise Unsupported(f"an output of {name} was never a finite number; nothing is compared with the graph by it")


def _compared(found: Graph, module: nn.Module, x: Inputs, tolerance: float) -> Agreement:
    theirs = module(x).to("cpu", torch.float64)
    return agreement(found(x), found.rough(x), theirs, x.dtype, tolerance)


def _others(example: Inputs, box: Box) -> Iterator[Inputs]:
    """Gaussian noise of the example's mean and deviation, and of ten and a hundred times that; uniform in the box."""
    rng = torch.Generator(example.device).manual_seed(0)
    shape = example.shape[1:]
    wide = example.double()
    low, high = (end.double() for end in box.limits(example[:1]))

    mean = wide.mean().nan_to_num()
    deviation = (wide - mean).square().mean().sqrt().nan_to_num().clamp(min=0.1)
    for count, times in ((4, 1.0), (2, 10.0), (2, 100.0)):
        noise = torch.randn(count, *shape, generator=rng, dtype=example.dtype, device=example.device)
        yield torch.minimum(torch.maximum(mean + times * deviation * noise, low), high).to(example.dtype)
    if bool((high - low).isfinite().all()):
        share = torch.rand(4, *shape, generator=rng, dtype=torch.float64, device=example.device)
        share[2:] = share[2:].round()
        yield (low + share * (high - low)).to(example.dtype)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a moment; every submodule's own mode comes back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
