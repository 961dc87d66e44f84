"""ONNX models as targets: onnxruntime answers, and our own reading of the file gives gradients."""

import os
from pathlib import Path
from typing import Any, final

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
from brinell.types import Inputs, Labels, Logits


@final
class OnnxBackend(Backend):
    """A classifier of one input, batch first, whose scores are its one float output (batch, classes).

    What it answers is what onnxruntime answers. Where the file can be read into a torch module that agrees with
    onnxruntime, that module gives gradients, and is what verifiers bound; elsewhere there are scores only. Where the
    file has an output of labels beside its scores, its decisions are those, which need not be the argmax. A model made
    for a fixed batch is run in batches of that size. Inputs of any shape are flattened where the model takes
    (batch, features). Tensors kept outside the file must lie in its folder; the file may be gzip.
    """

    access: Access

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = OnnxFile.read(Path(path))
        self._digest = file.digest()
        self._session = Session(file)
        self.dtype: torch.dtype | None = getattr(torch, self._session.type.__name__)
        self._output = _only_scores(file.path, self._session)
        self._labels = _only_labels(self._session)
        self.classes: tuple[str, ...] | None = None if self._labels is None else _class_names(file.complete())
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

    def labels(self, x: Inputs) -> Labels:
        if self._labels is None or not len(x):
            return self.scores(x).argmax(1)
        said = self._session(self._fitted(x), self._labels).reshape(len(x), -1)
        if said.shape[1] != 1:
            raise UsageError(
                f"{self._session.path}: its output {self._labels} has shape {said.shape} for {len(x)} examples; "
                "it must be one label each"
            )
        return _indices(said[:, 0], self.classes, self._session.path).to(x.device)

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
        device = next(self.module().buffers(), x).device
        scores = as_logits(self.module()(self._shaped(x).to(device, self.dtype)), len(x))
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


def _only_labels(session: Session) -> str | None:
    """The name of the one output that can be decisions: whole numbers or texts, one an example."""
    fit = [
        name
        for name, kind, shape in session.outputs
        if kind in ("tensor(int64)", "tensor(int32)", "tensor(string)") and (len(shape) < 2 or shape[1:] == [1])
    ]
    return fit[0] if len(fit) == 1 else None


def _class_names(model: Any) -> tuple[str, ...] | None:
    """What the classes are called, in the order of the scores, where the operators that classify agree on it."""
    named = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")
    found = {
        tuple(text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in values)
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name in named and (values := attribute.strings or attribute.ints)
    }
    return next(iter(found)) if len(found) == 1 else None


def _indices(said: np.ndarray, classes: tuple[str, ...] | None, path: Path) -> Labels:
    """Labels as places among the class names; whole numbers are places already where there are no names."""
    if classes is None and said.dtype.kind in "iu":
        return torch.from_numpy(said.astype(np.int64))
    places = {name: place for place, name in enumerate(classes or ())}
    strange = [str(label) for label in said.tolist() if str(label) not in places]
    if strange:
        names = ", ".join(places) or "none"
        raise UsageError(f"{path}: it answers {strange[0]!r}, which is not among the classes that it names: {names}")
    return torch.tensor([places[str(label)] for label in said.tolist()], dtype=torch.int64)
