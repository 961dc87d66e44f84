"""Constants, and values that pass through unchanged."""

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Foreign, Rule

aten = torch.ops.aten

FLOAT_TYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64}
TYPES = FLOAT_TYPES | {6: torch.int32, 7: torch.int64, 9: torch.bool}
"""By ONNX's number."""

LARGEST = 2**26
"""Values of a constant that a file may ask for without holding them."""


def _constant(call: Call) -> Tensor:
    for name, dtype in (
        ("value", None),
        ("value_float", torch.float32),
        ("value_floats", torch.float32),
        ("value_int", torch.int64),
        ("value_ints", torch.int64),
    ):
        if call.get(name) is not None:
            return torch.as_tensor(call.get(name), dtype=dtype)
    raise Foreign("a constant that is neither numbers nor a tensor of them")


def _filled(call: Call, shape: Tensor) -> Tensor:
    value = call.get("value", torch.zeros(1))
    size = call.whole(shape, "shape")
    if torch.Size(size).numel() > LARGEST:
        raise Foreign(f"a constant of shape {size}")
    return torch.full(size, value.item(), dtype=value.dtype)


def _same(call: Call, x: Tensor) -> Tensor:
    return x


def _dropout(call: Call, x: Tensor, share: Tensor | None = None, training: Tensor | None = None) -> Tensor:
    """The identity in inference, which a file may ask not to be in, however small its share."""
    if training is not None and (call.depends(training) or bool(training.any())):
        raise Foreign("dropout in training: the network is random")
    return x


def _cast(call: Call, x: Tensor) -> Tensor:
    dtype = TYPES.get(call.get("to"))
    if dtype is None:
        raise Foreign(f"a cast to ONNX type {call.get('to')}")
    if dtype == x.dtype:
        return x
    if call.depends(x) and not dtype.is_floating_point:
        raise Foreign(f"the network's values rounded to {dtype}")
    return call.do(aten.to.dtype, x, dtype)


RULES: dict[str, Rule] = {
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Identity": _same,
    "Dropout": _dropout,
    "Cast": _cast,
}
