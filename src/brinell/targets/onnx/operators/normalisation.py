"""Normalisation by statistics that are constants, or by an example's own."""

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


def _layer_normalisation(call: Call, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    if call.depends(scale) or call.depends(shift):
        raise Foreign("its scale or shift is no constant")
    shape = list(x.shape[call.get("axis", -1) :])
    fitted = [None if part is None else part.broadcast_to(shape) for part in (scale, shift)]
    return call.do(aten.layer_norm.default, x, shape, *fitted, call.get("epsilon", 1e-5))


RULES: dict[str, Rule] = {"BatchNormalization": _batch_normalisation, "LayerNormalization": _layer_normalisation}
