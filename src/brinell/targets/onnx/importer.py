"""From an ONNX file to a torch module of PyTorch's own operators, believed only where it equals onnxruntime."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from brinell.errors import out_of_memory
from brinell.targets.agreement import Agreement, agreement, as_approximated
from brinell.targets.onnx.call import Call, Foreign
from brinell.targets.onnx.files import OnnxFile
from brinell.targets.onnx.operators import RULES
from brinell.targets.onnx.session import Session
from brinell.targets.onnx.tape import Tape

_APPROXIMATED = (torch.ops.aten.sigmoid.default, torch.ops.aten.tanh.default, torch.ops.aten.erf.default)

TOLERANCE = 1e-4
"""How far an output of our reading may be from onnxruntime's, as a share of its largest value."""


def read(file: OnnxFile, session: Session, output: str) -> fx.GraphModule:
    """The module that computes `output`, one row an example. Raises Foreign, naming what cannot be read."""
    shape = session.shape
    if any(not isinstance(n, int) for n in shape[1:]):
        raise Foreign(f"{file.path}: its input {session.input} has shape {shape}; fix the axes after the first")
    model = file.complete()
    version = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    tape = Tape()
    values = {initial.name: _tensor(initial) for initial in model.graph.initializer}
    example = tape.input(tuple(int(n) for n in shape[1:] if n is not None), torch.from_numpy(_none(session)).dtype)
    values[session.input] = example
    rows = shape[0] if isinstance(shape[0], int) else 1
    for node in model.graph.node:
        values |= _outputs(node, values, version, rows, tape)
    if output not in values or not tape.depends(values[output]):
        raise Foreign(f"{file.path}: its output {output} does not depend on its input")
    module = tape.module(values[output])
    compare(module, session, output, torch.zeros(1), torch.ones(1))
    return module


def compare(module: fx.GraphModule, session: Session, output: str, low: Tensor, high: Tensor) -> None:
    """Raise Foreign unless both agree on random inputs between the limits, on noise of that spread, and far beyond."""
    rng = torch.Generator().manual_seed(0)
    shape = (4, *(int(n) for n in session.shape[1:] if n is not None))
    inside = low + (high - low) * torch.rand(shape, generator=rng)
    noise = (high - low) * torch.randn(shape, generator=rng)
    dtype = torch.from_numpy(_none(session)).dtype
    exact = copy.deepcopy(module).double()
    for x in (inside, *((low + high) / 2 + times * noise for times in (1, 10, 100))):
        gap = _agreement(module, exact, session, output, x.to(dtype)).gap
        if gap > 0:
            raise Foreign(f"{session.path}: our reading of it differs from onnxruntime by {gap:g}")


def _agreement(module: fx.GraphModule, exact: fx.GraphModule, session: Session, output: str, x: Tensor) -> Agreement:
    rough = _answer(_Rough(module).run, x, session)
    theirs = torch.from_numpy(session(x.numpy(), output)).double()
    if rough.shape != theirs.shape:
        raise Foreign(f"{session.path}: read as shape {tuple(rough.shape)}, run as {tuple(theirs.shape)}")
    try:
        ours = _answer(exact, x.double(), session)
    except Foreign:  # casts within keep it from running in float64
        ours = rough
    return agreement(ours.flatten(1), rough.flatten(1), theirs.flatten(1), x.dtype, TOLERANCE)


class _Rough(fx.Interpreter):
    """The module, with the outputs of bounded curves as a runtime may give them."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        values = super().call_function(target, args, kwargs)
        return as_approximated(values) if target in _APPROXIMATED else values


def _answer(run: Callable[[Tensor], Any], x: Tensor, session: Session) -> Tensor:
    try:
        with torch.no_grad():
            return torch.as_tensor(run(x)).double()
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        headline = str(error).partition("\n")[0][:160]
        raise Foreign(f"{session.path}: read as a model of one batch size alone: {headline}") from error


def _outputs(node: Any, values: dict[str, Tensor], version: int, rows: int, tape: Tape) -> dict[str, Tensor]:
    place = node.name or ", ".join(node.output)
    if node.domain not in ("", "ai.onnx") or node.op_type not in RULES:
        raise Foreign(f"no rule for the ONNX operator {node.op_type} ({place})")
    attributes = {attribute.name: _attribute(attribute) for attribute in node.attribute}
    tape.source = (place, node.op_type)
    call = Call({"outputs": len(node.output), **attributes}, version, rows, tape)
    try:
        with tape.watched():
            result = RULES[node.op_type](call, *(values[name] if name else None for name in node.input))
    except Foreign as error:
        raise Foreign(f"cannot read the ONNX operator {node.op_type} ({place}): {error}") from None
    except Exception as error:
        headline = str(error).partition("\n")[0][:160]
        raise Foreign(f"the ONNX operator {node.op_type} ({place}) has inputs it cannot have: {headline}") from error
    found = [result] if isinstance(result, Tensor) else list(result)
    return dict(zip(node.output, found, strict=False))


def _attribute(attribute: Any) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value


def _tensor(stored: Any) -> Tensor:
    import onnx

    try:
        return torch.from_numpy(np.array(onnx.numpy_helper.to_array(stored)))
    except Exception as error:
        raise Foreign(f"the constant {stored.name!r} is no tensor of numbers: {error}") from error


def _none(session: Session) -> np.ndarray:
    return np.zeros(0, session.type)
