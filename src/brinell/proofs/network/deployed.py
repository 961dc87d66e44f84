"""A network of an ONNX file: the graph that is proved, beside the model that runs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.errors import UsageError
from brinell.proofs.network.export import trace
from brinell.proofs.network.graph import Graph
from brinell.targets.onnx.files import OnnxFile
from brinell.targets.onnx.importer import read
from brinell.targets.onnx.session import FLOATS, Session


@final
@dataclass(frozen=True, eq=False)
class Deployed:
    """graph: our reading of the file. precision: of the inputs that onnxruntime takes."""

    graph: Graph
    precision: torch.dtype
    session: Session
    output: str

    def __call__(self, x: Float64[Tensor, "rows inputs"]) -> Float64[Tensor, "rows outputs"]:
        """What onnxruntime answers; inputs and outputs in flat order."""
        rows: np.ndarray = x.reshape(len(x), *self.graph.nodes[0].shape).numpy().astype(self.session.type)
        return torch.from_numpy(self.session(rows, self.output)).double().flatten(1)


def deployed(path: str | os.PathLike[str]) -> Deployed:
    """The network of a file, which may be gzip. Raises Foreign where an operator cannot be read, Unsupported where
    one cannot be bounded; both name it.
    """
    file = OnnxFile.read(Path(path))
    session = Session(file)
    floats = [name for name, kind, _ in session.outputs if kind in FLOATS]
    if len(session.outputs) != 1 or len(floats) != 1:
        raise UsageError(f"{path}: the model has {len(session.outputs)} outputs; a property speaks of one, of floats")
    module = read(file, session, floats[0])
    dtype = getattr(torch, session.type.__name__)
    graph = trace(module, torch.zeros(1, *(int(n) for n in session.shape[1:] if n is not None), dtype=dtype))
    return Deployed(graph, dtype, session, floats[0])
