"""An ONNX file read as data: gzip is opened, and tensors outside the file must lie in its folder."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from brinell.errors import CannotRun, MissingExtra, Refused
from brinell.targets.reading import read_bytes, unpacked

LARGEST = 2**31
"""Bytes a protocol buffer can hold."""


@final
@dataclass(frozen=True)
class OnnxFile:
    """content: the model, decompressed. model: it parsed. outside: the files of tensors kept beside it."""

    path: Path
    content: bytes
    model: Any
    outside: tuple[Path, ...]

    @classmethod
    def read(cls, path: Path) -> "OnnxFile":
        """Raises MissingExtra without onnx, CannotRun for what is no model, Refused for data outside its folder."""
        try:
            import onnx
        except ImportError:
            raise MissingExtra("onnx", "onnx") from None
        try:
            content = unpacked(read_bytes(path), path, LARGEST)
            model = onnx.load_model_from_string(content)
        except CannotRun:
            raise
        except Exception as error:
            raise CannotRun(f"{path}: not an ONNX model, or damaged; export it again") from error
        if not model.graph.node:
            raise CannotRun(f"{path}: not an ONNX model, or one without any operation; export it again")
        names = sorted({_location(tensor, path) for tensor in _outside_tensors(model)})
        return cls(path, content, model, tuple(_inside_folder(name, path) for name in names))

    def complete(self) -> Any:
        """The model with the tensors that lie outside the file."""
        if not self.outside:
            return self.model
        import onnx

        model = onnx.load_model_from_string(self.content)
        try:
            onnx.load_external_data_for_model(model, str(self.path.resolve().parent))
        except Exception as error:
            raise CannotRun(f"{self.path}: the data beside it cannot be read; export it again") from error
        return model

    def digest(self) -> str:
        """A hash of the model and of the data beside it."""
        h = hashlib.sha256(self.content)
        for file in self.outside:
            with file.open("rb") as f:
                h.update(file.name.encode() + hashlib.file_digest(f, "sha256").digest())
        return h.hexdigest()


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
