"""ONNX models, run by onnxruntime on the CPU: scores only."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from brinell.errors import CannotRun, MissingExtra, Refused, UsageError
from brinell.targets.backend import Backend, as_logits
from brinell.threat import Access
from brinell.types import Inputs, Logits

_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


@final
class OnnxBackend(Backend):
    """A classifier of one input, batch first, whose scores are its one float output (batch, classes).

    A model made for a fixed batch is run in batches of that size, the last one filled up with copies of a
    row. Inputs of any shape are flattened where the model takes (batch, features). Tensors kept outside the
    file must lie in its folder. One thread: how many run side by side is the audit's choice.
    """

    access: Access = Access.SCORES

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        content, outside = _checked(self._path)
        self._digest = _digest(content, outside)
        self._session = _session(self._path, content, bool(outside))
        self._input, self._type, self._shape = _only_input(self._path, self._session)
        self._output = _only_scores(self._path, self._session)

    def scores(self, x: Inputs) -> Logits:
        rows = self._fitted(x)
        step = self._shape[0] if isinstance(self._shape[0], int) else len(rows)
        parts = [self._run(rows[i : i + step], step) for i in range(0, len(rows), max(step, 1))]
        scores = torch.from_numpy(np.concatenate(parts)) if parts else torch.empty(0, 2)
        return as_logits(scores.to(x.device, torch.promote_types(scores.dtype, torch.float32)), len(x))

    def digest(self) -> str:
        return self._digest

    def describe(self) -> str:
        shape = ", ".join("?" if not isinstance(n, int) else str(n) for n in self._shape)
        return f"ONNX model of inputs ({shape})"

    def copy(self) -> "OnnxBackend":
        return self  # a session may be run by several threads at once

    def _run(self, rows: np.ndarray, size: int) -> np.ndarray:
        full = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
        (scores,) = self._session.run([self._output], {self._input: full})
        answer: np.ndarray = scores[: len(rows)]
        return answer

    def _fitted(self, x: Inputs) -> np.ndarray:
        """The rows in the shape and type that the model takes."""
        if len(self._shape) == 2:
            x = x.flatten(1)
        wanted = self._shape[1:]
        if x.dim() != len(self._shape) or any(
            isinstance(w, int) and w != n for w, n in zip(wanted, x.shape[1:], strict=True)
        ):
            raise UsageError(
                f"an example has shape {tuple(x.shape[1:])}; {self._path.name} takes {tuple(w or '?' for w in wanted)}"
            )
        return x.detach().cpu().numpy().astype(self._type)


def _checked(path: Path) -> tuple[bytes, list[Path]]:
    """(the file's bytes, the files of tensors outside it); none of them leaves the model's folder."""
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "onnx") from None
    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror}; check the path and its permissions") from error
    except Exception as error:
        raise CannotRun(f"{path}: not an ONNX model, or damaged; export it again") from error
    if not model.graph.node:
        raise CannotRun(f"{path}: not an ONNX model, or one without any operation; export it again")
    names = sorted({_location(tensor, path) for tensor in _outside_tensors(model)})
    return content, [_inside_folder(name, path) for name in names]


def _outside_tensors(message: Any) -> Iterator[Any]:
    """Every tensor, at any depth of the model, that asks for data from another file."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for inner in [value] if hasattr(value, "ListFields") else value:
            if inner.DESCRIPTOR.name == "TensorProto" and (inner.data_location or inner.external_data):
                yield inner
            yield from _outside_tensors(inner)


def _location(tensor: Any, path: Path) -> str:
    named = [entry.value for entry in tensor.external_data if entry.key == "location"]
    if len(named) != 1:
        raise Refused(f"{path}: tensor {tensor.name!r} names {len(named)} files for its data; export it as one file")
    return str(named[0])


def _inside_folder(name: str, path: Path) -> Path:
    """The file a model names, if it is a plain file of its own folder: no link can lead elsewhere.

    A hard link is refused too: it gives a file of another folder a name in this one.
    """
    remedy = "export the model as one file, or copy its data beside it"
    here = path.resolve().parent
    parts = Path(name).parts
    if not name or Path(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name:
        raise Refused(f"{path}: its data file {name[:80]!r} is not in the model's folder; {remedy}")
    file = here / name
    try:
        if file.resolve() != file or not file.is_file():
            raise Refused(f"{path}: its data file {name[:80]!r} is a link, or is not there; {remedy}")
        if file.stat().st_nlink > 1:
            raise Refused(f"{path}: its data file {name[:80]!r} has other names (hard links); {remedy}")
    except OSError as error:
        raise Refused(f"{path}: its data file {name[:80]!r} cannot be read; {remedy}") from error
    return file


def _digest(content: bytes, outside: list[Path]) -> str:
    h = hashlib.sha256(content)
    for file in outside:
        with file.open("rb") as f:
            h.update(file.name.encode() + hashlib.file_digest(f, "sha256").digest())
    return h.hexdigest()


def _session(path: Path, content: bytes, outside: bool) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its warnings repeat the error that is raised
    source = str(path.resolve()) if outside else content  # the bytes that were checked, unless data lies beside them
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        first = str(error).partition("\n")[0][:160]
        raise CannotRun(f"{path}: onnxruntime cannot run it ({first}); export it again") from error


def _only_input(path: Path, session: Any) -> tuple[str, type, list[int | str | None]]:
    """(name, numpy type, shape) of the model's input; a dimension that may vary is no number."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs) or "none"
        raise UsageError(f"{path}: the model has {len(inputs)} inputs ({names}); it must take one batch of examples")
    (entry,) = inputs
    if entry.type not in _FLOATS:
        raise UsageError(
            f"{path}: its input {entry.name} is {entry.type}, which cannot hold small perturbations; "
            "export it with a float input, in front of any rounding"
        )
    if not entry.shape:
        raise UsageError(f"{path}: its input {entry.name} has no axis; its first axis must count examples")
    return entry.name, _FLOATS[entry.type], list(entry.shape)


def _only_scores(path: Path, session: Any) -> str:
    """The name of the one output that can be scores: floats of shape (batch, classes)."""
    outputs = session.get_outputs()
    fit = [o.name for o in outputs if o.type in _FLOATS and len(o.shape) in (0, 2)]
    listed = ", ".join(f"{o.name}: {o.type} {o.shape}" for o in outputs)
    if not fit and any("seq(map" in o.type for o in outputs):
        raise UsageError(
            f"{path}: its scores are a list of dictionaries (ZipMap); "
            "export with skl2onnx's options={'zipmap': False}"
        )
    if len(fit) != 1:
        raise UsageError(
            f"{path}: {len(fit) or 'no'} outputs could be scores ({listed}); "
            "export it with exactly one float output of shape (batch, classes)"
        )
    return str(fit[0])
