"""Small models that the tests of this folder share."""

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator())


def mlp() -> nn.Sequential:
    """4 inputs, 3 classes, the same weights every time."""
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=generator(p.numel()))
    return net


def cnn() -> nn.Sequential:
    """1 x 6 x 6 inputs, 3 classes; with the parts that answer differently in training."""
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(32, 3))


def as_onnx(net: nn.Sequential, rows: int | str = "rows", kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """The network of `mlp`, written down by hand."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = {f"{i}{k}": p.detach().numpy().astype(dtype) for i in (0, 2) for k, p in net[i].named_parameters()}
    nodes = [
        helper.make_node("Gemm", ["x", "0weight", "0bias"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "2weight", "2bias"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", kind, [rows, 4])],
        [helper.make_tensor_value_info("scores", kind, [rows, 3])],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
