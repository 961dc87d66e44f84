"""Small ONNX models, written to disk."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from brinell.targets.onnx.files import OnnxFile
from brinell.targets.onnx.importer import read
from brinell.targets.onnx.session import Session

FLOAT = TensorProto.FLOAT


def model(shape, nodes, constants=None, version=17, rows="rows", output="y"):
    """The input is x (rows, *shape), the output y."""
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    given = helper.make_tensor_value_info("x", FLOAT, [rows, *shape])
    body = helper.make_graph(nodes, "g", [given], [helper.make_tensor_value_info(output, FLOAT, None)], initial)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", version)], ir_version=8)


def saved(made, folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(made, str(path))
    return path


def twin(path: Path, output="y"):
    """(our reading, onnxruntime's session)."""
    file = OnnxFile.read(path)
    session = Session(file)
    return read(file, session, output), session


def normal(*shape: int, seed=0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def whole(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)
