"""The same values in another shape."""

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Foreign, Rule

aten = torch.ops.aten


def _reshape(call: Call, x: Tensor, shape: Tensor | None = None) -> Tensor:
    """A zero keeps the axis at its place. The shape was an attribute before operator set 5."""
    wanted = call.get("shape") or call.whole(shape, "shape")
    if not call.get("allowzero", 0):
        own = call.shape(x)
        wanted = [own[i] if n == 0 else n for i, n in enumerate(wanted)]
    return call.reshape(x, wanted)


def _flatten(call: Call, x: Tensor) -> Tensor:
    axis = call.get("axis", 1)
    shape = call.shape(x)
    axis = axis + len(shape) if axis < 0 else axis
    return call.reshape(x, [torch.Size(shape[:axis]).numel(), torch.Size(shape[axis:]).numel()])


def _squeeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    shape = call.shape(x)
    named = call.axes(axes) or [i for i, n in enumerate(shape) if n == 1 and (i or not call.depends(x))]
    gone = {axis % len(shape) for axis in named}
    return call.reshape(x, [n for i, n in enumerate(shape) if i not in gone])


def _unsqueeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    shape = call.shape(x)
    named = call.axes(axes)
    for axis in sorted(axis % (len(shape) + len(named)) for axis in named):
        shape.insert(axis, 1)
    return call.reshape(x, shape)


def _transpose(call: Call, x: Tensor) -> Tensor:
    order = list(call.get("perm", range(x.dim())[::-1]))
    if call.depends(x) and order[0] != 0:
        raise Foreign(f"the axes in order {order}, which moves the batch")
    return call.do(aten.permute.default, x, order)


def _shape(call: Call, x: Tensor) -> Tensor:
    return torch.tensor(call.shape(x)[call.get("start", 0) : call.get("end")])


RULES: dict[str, Rule] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Shape": _shape,
}
