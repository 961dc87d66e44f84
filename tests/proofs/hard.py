"""A proof that takes long: of a network with many unstable neurons, on disk."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = (64, 256, 256, 256, 5)


def save_hard(folder: Path) -> tuple[Path, Path]:
    """(network, property)."""
    rng, nodes, weights, last = np.random.default_rng(0), [], [], "x"
    for i, (inputs, outputs) in enumerate(pairwise(SIZES)):
        matrix = (2 * rng.normal(size=(inputs, outputs)) / inputs**0.5).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{i}"))
        nodes += [
            helper.make_node("MatMul", [last, f"w{i}"], [f"h{i}"]),
            helper.make_node("Relu", [f"h{i}"], [f"r{i}"]),
        ]
        last = f"r{i}"
    nodes[-2].output[0] = "y"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIZES[i]]) for name, i in (("x", 0), ("y", -1)))
    body = helper.make_graph(nodes[:-1], "g", [x], [y], weights)
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "hard.onnx")
    lines = [f"(declare-const {name}_{i} Real)" for name, size in (("X", 64), ("Y", 5)) for i in range(size)]
    lines += [f"(assert (>= X_{i} -0.2)) (assert (<= X_{i} 0.2))" for i in range(64)] + ["(assert (>= Y_0 25))"]
    (folder / "hard.vnnlib").write_text("\n".join(lines))
    return folder / "hard.onnx", folder / "hard.vnnlib"
