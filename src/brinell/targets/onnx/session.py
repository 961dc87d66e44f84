"""A model in onnxruntime on the CPU: the answers that count."""

import math
import re
from pathlib import Path
from typing import Any, final

import numpy as np

from brinell.errors import CannotRun, MissingExtra, UsageError, out_of_memory
from brinell.targets.onnx.files import OnnxFile

LARGEST = 2**28
"""Values of one input: of a whole batch, where the model was made for one."""

FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


@final
class Session:
    """The one float input of a model, and one of its outputs. One thread: how many run side by side is the caller's.

    shape: that of the input; an axis that may vary is no number. A model made for a fixed batch is run in batches
    of that size, the last one filled up with copies of a row.
    """

    def __init__(self, file: OnnxFile) -> None:
        self.path = file.path
        self._session = _opened(file)
        self.input, self.type, self.shape = _only_input(file.path, self._session)
        self.outputs: list[tuple[str, str, list[int | str | None]]] = [
            (entry.name, entry.type, list(entry.shape)) for entry in self._session.get_outputs()
        ]

    def __call__(self, rows: np.ndarray, output: str) -> np.ndarray:
        """The named output, one row an example; `rows` have the type and shape of the input."""
        step = self.shape[0] if isinstance(self.shape[0], int) else len(rows)
        parts = [self._run(rows[i : i + step], step, output) for i in range(0, len(rows), max(step, 1))]
        return np.concatenate(parts)

    def _run(self, rows: np.ndarray, size: int, output: str) -> np.ndarray:
        full = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
        try:
            (scores,) = self._session.run([output], {self.input: full})
        except Exception as error:
            raise _failure(self.path, error) from error
        answer: np.ndarray = scores[: len(rows)]
        return answer


def _opened(file: OnnxFile) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its warnings repeat the error that is raised
    onnxruntime.set_default_logger_severity(4)
    source = (
        str(file.path.resolve()) if file.outside else file.content
    )  # the bytes that were checked, unless data lies beside them
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:
        raise _failure(file.path, error) from error


def _failure(path: Path, error: Exception) -> Exception:
    """What onnxruntime raised, in one line, without its codes and the places in its own source."""
    if out_of_memory(error):
        return MemoryError(f"{path}: memory ran out in onnxruntime")
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).partition("\n")[0]
    first = re.sub(r"^/\S+:\d+ .*?\) (?=[A-Z])", "", said)[:160]
    return CannotRun(f"{path}: onnxruntime cannot run it ({first}); export it again")


def _only_input(path: Path, session: Any) -> tuple[str, type, list[int | str | None]]:
    """(name, numpy type, shape) of the model's input; a dimension that may vary is no number."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs) or "none"
        raise UsageError(f"{path}: the model has {len(inputs)} inputs ({names}); it must take one batch of examples")
    (entry,) = inputs
    if entry.type not in FLOATS:
        raise UsageError(
            f"{path}: its input {entry.name} is {entry.type}, which cannot hold small perturbations; "
            "export it with a float input, in front of any rounding"
        )
    if not entry.shape:
        raise UsageError(f"{path}: its input {entry.name} has no axis; its first axis must count examples")
    known = [n for n in entry.shape if isinstance(n, int)]
    if min(known, default=1) < 1 or math.prod(known) > LARGEST:
        raise UsageError(
            f"{path}: its input {entry.name} has shape {entry.shape}; each axis must be at least 1 long, "
            f"and all of it at most {LARGEST} values"
        )
    return entry.name, FLOATS[entry.type], list(entry.shape)
