"""One value in, one value out."""

import math
from typing import Any

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Foreign, Rule

aten = torch.ops.aten


def _plain(operator: Any) -> Rule:
    """Of an operator that has nothing to set."""
    return lambda call, x: call.do(operator, x)


def _leaky_relu(call: Call, x: Tensor) -> Tensor:
    return call.do(aten.leaky_relu.default, x, call.get("alpha", 0.01))


def _elu(call: Call, x: Tensor) -> Tensor:
    return call.do(aten.elu.default, x, call.get("alpha", 1.0))


def _selu(call: Call, x: Tensor) -> Tensor:
    alpha = call.get("alpha", 1.6732632)
    gamma = call.get("gamma", 1.0507010)
    return call.do(aten.elu.default, x, alpha, gamma)


def _clip(call: Call, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """The limits were attributes before operator set 11."""
    least = _limit(call, low, call.get("min"), -math.inf)
    most = _limit(call, high, call.get("max"), math.inf)
    finite = (None if least == -math.inf else least, None if most == math.inf else most)
    return x if finite == (None, None) else call.do(aten.clamp.default, x, *finite)


def _limit(call: Call, given: Tensor | None, attribute: float | None, default: float) -> float:
    if given is None:
        return default if attribute is None else float(attribute)
    if call.depends(given):
        raise Foreign("its limit is no constant")
    return float(given)


def _softmax(call: Call, x: Tensor) -> Tensor:
    return call.do(aten.softmax.int, x, _shares(call, x))


def _shares(call: Call, x: Tensor) -> int:
    """The axis whose values share a whole. Before operator set 13 all axes from it on were one."""
    axis = int(call.get("axis", 1 if call.version < 13 else -1))
    if call.version < 13 and axis % x.dim() != x.dim() - 1:
        raise Foreign(f"a softmax over the axes of {tuple(x.shape)} from {axis} on")
    return axis


def _log_softmax(call: Call, x: Tensor) -> Tensor:
    return call.do(aten.log_softmax.int, x, _shares(call, x))


def _hard_sigmoid(call: Call, x: Tensor) -> Tensor:
    moved = call.do(aten.add.Scalar, call.do(aten.mul.Scalar, x, call.get("alpha", 0.2)), call.get("beta", 0.5))
    return call.do(aten.clamp.default, moved, 0.0, 1.0)


def _gelu(call: Call, x: Tensor) -> Tensor:
    return call.do(aten.gelu.default, x, options={"approximate": call.get("approximate", "none")})


def _celu(call: Call, x: Tensor) -> Tensor:
    return call.do(aten.celu.default, x, call.get("alpha", 1.0))


def _prelu(call: Call, x: Tensor, slope: Tensor) -> Tensor:
    """slope x + (1 - slope) relu(x); the slopes are broadcast."""
    if call.depends(slope):
        raise Foreign("its slope is no constant")
    rise = call.do(aten.mul.Tensor, call.do(aten.relu.default, x), 1 - slope)
    return call.do(aten.add.Tensor, call.do(aten.mul.Tensor, x, slope), rise)


RULES: dict[str, Rule] = {
    "Abs": _plain(aten.abs.default),
    "Erf": _plain(aten.erf.default),
    "Exp": _plain(aten.exp.default),
    "Log": _plain(aten.log.default),
    "Reciprocal": _plain(aten.reciprocal.default),
    "Relu": _plain(aten.relu.default),
    "Selu": _selu,
    "Sigmoid": _plain(aten.sigmoid.default),
    "Sign": _plain(aten.sign.default),
    "Softplus": _plain(aten.softplus.default),
    "Sqrt": _plain(aten.sqrt.default),
    "Tanh": _plain(aten.tanh.default),
    "LeakyRelu": _leaky_relu,
    "Celu": _celu,
    "Clip": _clip,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(aten.hardswish.default),
    "LogSoftmax": _log_softmax,
    "Mish": _plain(aten.mish.default),
    "PRelu": _prelu,
    "Softmax": _softmax,
}
