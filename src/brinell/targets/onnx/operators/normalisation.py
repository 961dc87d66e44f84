"""Normalisation by statistics that are constants."""

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Foreign, Rule

aten = torch.ops.aten


def _batch_normalisation(call: Call, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if call.get("training_mode", 0):
        raise Foreign("batch normalisation by the batch itself")
    factor = scale * (variance + call.get("epsilon", 1e-5)).rsqrt()
    channels = (-1,) + (1,) * (x.dim() - 2)
    scaled = call.do(aten.mul.Tensor, x, factor.reshape(channels))
    return call.do(aten.add.Tensor, scaled, (shift - mean * factor).reshape(channels))


RULES: dict[str, Rule] = {"BatchNormalization": _batch_normalisation}
