"""Products with matrices."""

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Rule

aten = torch.ops.aten


def _gemm(call: Call, x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """alpha * x' y' + beta * bias."""
    x = call.do(aten.transpose.int, x, 0, 1) if call.get("transA", 0) else x
    if call.depends(y) or call.depends(bias):
        y = call.do(aten.transpose.int, y, 0, 1) if call.get("transB", 0) else y
        product = call.do(aten.mul.Tensor, call.do(aten.matmul.default, x, y), call.get("alpha", 1.0))
        if bias is None:
            return product
        return call.do(aten.add.Tensor, product, call.do(aten.mul.Scalar, bias, call.get("beta", 1.0)))
    weight = (y if call.get("transB", 0) else y.T) * call.get("alpha", 1.0)
    if bias is not None:
        bias = (bias * call.get("beta", 1.0)).broadcast_to(1, len(weight))[0]
    return call.do(aten.linear.default, x, weight, bias)


def _matmul(call: Call, x: Tensor, y: Tensor) -> Tensor:
    if y.dim() == 2 and not call.depends(y) and x.dim() > 1:
        return call.do(aten.linear.default, x, y.T.contiguous())
    if x.dim() == 2 and not call.depends(x) and y.dim() > 2:  # x y = (y' x')'
        turned = call.do(aten.linear.default, call.do(aten.transpose.int, y, -2, -1), x)
        return call.do(aten.transpose.int, turned, -2, -1)
    return call.do(aten.matmul.default, x, y)


RULES: dict[str, Rule] = {"Gemm": _gemm, "MatMul": _matmul}
