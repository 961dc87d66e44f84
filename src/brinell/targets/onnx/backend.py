"""ONNX models as targets: onnxruntime answers, and our own reading of the file gives gradients."""

import os
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import fx, nn

from brinell.errors import UsageError
from brinell.targets.backend import Backend, as_logits
from brinell.targets.onnx.call import Foreign
from brinell.targets.onnx.files import OnnxFile
from brinell.targets.onnx.importer import read
from brinell.targets.onnx.session import FLOATS, Session
from brinell.threat import Access
from brinell.types import Inputs, Logits


@final
class OnnxBackend(Backend):
    """A classifier of one input, batch first, whose scores are its one float output (batch, classes).

    What it answers is what onnxruntime answers. Where the file can be read into a torch module that agrees with
    onnxruntime, that module gives gradients, and is what verifiers bound; elsewhere there are scores only. A model
    made for a fixed batch is run in batches of that size. Inputs of any shape are flattened where the model takes
    (batch, features). Tensors kept outside the file must lie in its folder; the file may be gzip.
    """

    access: Access

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = OnnxFile.read(Path(path))
        self._digest = file.digest()
        self._session = Session(file)
        self._output = _only_scores(file.path, self._session)
        self._twin: fx.GraphModule | Foreign
        try:
            self._twin = read(file, self._session, self._output)
        except Foreign as reason:
            self._twin = reason
        self.access = Access.SCORES if isinstance(self._twin, Foreign) else Access.WEIGHTS

    def scores(self, x: Inputs) -> Logits:
        if x.requires_grad and torch.is_grad_enabled():
            return self._differentiable(x)
        scores = torch.from_numpy(self._session(self._fitted(x), self._output)) if len(x) else torch.empty(0, 2)
        return as_logits(scores.to(x.device, torch.promote_types(scores.dtype, torch.float32)), len(x))

    def digest(self) -> str:
        return self._digest

    def describe(self) -> str:
        shape = ", ".join("?" if not isinstance(n, int) else str(n) for n in self._session.shape)
        return f"ONNX model of inputs ({shape})"

    def copy(self) -> "OnnxBackend":
        return self  # a session may be run by several threads at once, and the module keeps no state

    def module(self) -> nn.Module:
        if isinstance(self._twin, Foreign):
            raise UsageError(f"{self.describe()} shows no weights: {self._twin}")
        return self._twin

    def _differentiable(self, x: Inputs) -> Logits:
        weights = next(self.module().buffers(), x)
        scores = as_logits(self.module()(self._shaped(x).to(weights.device, weights.dtype)), len(x))
        return scores.to(x.device, torch.promote_types(scores.dtype, torch.float32))

    def _fitted(self, x: Inputs) -> np.ndarray:
        return self._shaped(x).detach().cpu().numpy().astype(self._session.type)

    def _shaped(self, x: Inputs) -> Inputs:
        """The rows in the shape that the model takes."""
        shape = self._session.shape
        if len(shape) == 2:
            x = x.flatten(1)
        wanted = shape[1:]
        if x.dim() != len(shape) or any(
            isinstance(w, int) and w != n for w, n in zip(wanted, x.shape[1:], strict=True)
        ):
            raise UsageError(
                f"an example has shape {tuple(x.shape[1:])}; "
                f"{self._session.path.name} takes {tuple(w or '?' for w in wanted)}"
            )
        return x


def _only_scores(path: Path, session: Session) -> str:
    """The name of the one output that can be scores: floats of shape (batch, classes)."""
    fit = [name for name, kind, shape in session.outputs if kind in FLOATS and len(shape) in (0, 2)]
    listed = ", ".join(f"{name}: {kind} {shape}" for name, kind, shape in session.outputs)
    if not fit and any("seq(map" in kind for _, kind, _ in session.outputs):
        raise UsageError(
            f"{path}: its scores are a list of dictionaries (ZipMap); "
            "export with skl2onnx's options={'zipmap': False}"
        )
    if len(fit) != 1:
        raise UsageError(
            f"{path}: {len(fit) or 'no'} outputs could be scores ({listed}); "
            "export it with exactly one float output of shape (batch, classes)"
        )
    return fit[0]
