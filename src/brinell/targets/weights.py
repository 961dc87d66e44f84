"""Files of tensors by name: `.safetensors`, and checkpoints of `torch.save`, whose code is never run."""

import copy
import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from brinell.errors import CannotRun, Refused, UsageError
from brinell.targets.reading import read_bytes

State = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")

SAVE_WEIGHTS = "save it with torch.save(model.state_dict(), FILE) or safetensors.torch.save_model(model, FILE)"


def fill(module: nn.Module, path: Path) -> nn.Module:
    """A copy of the module that holds the weights of a file; every key and shape must match."""
    state = read_weights(path)
    own = module.state_dict()
    if state and not set(state) & set(own) and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}  # torch's DataParallel
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    reshaped = [
        f"{key} is {tuple(state[key].shape)}, the model's is {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and isinstance(value, Tensor) and state[key].shape != value.shape
    ]
    faults = [
        f"{len(keys)} {what} ({keys[0]}{', …' if len(keys) > 1 else ''})"
        for keys, what in ((missing, "missing"), (unexpected, "unexpected"), (reshaped, "of another shape"))
        if keys
    ]
    if faults:
        raise UsageError(
            f"{path}: does not fit {type(module).__name__}: {', '.join(faults)}; "
            "give the weights of this architecture, or the factory of these weights"
        )
    filled = copy.deepcopy(module)
    filled.load_state_dict(state)
    return filled


def read_weights(path: Path) -> State:
    """The tensors of a file by name. No code of the file is run: what is not plain tensors is refused."""
    content = read_bytes(path)
    if is_safetensors(content):
        return _from_safetensors(content, path)
    if path.suffix == ".safetensors":
        if is_pickle(content) or content.startswith(b"PK"):
            raise Refused(f"{path}: its content is a pickle, not safetensors, and may run code; {SAVE_WEIGHTS}")
        raise CannotRun(f"{path}: not a safetensors file, or damaged; {SAVE_WEIGHTS}")
    found = read_checkpoint(content, path)
    state = state_of(found)
    if state is None:
        raise UsageError(
            f"{path}: holds a {type(found).__name__} without weights; it must be a state dict, "
            f"or hold one under {', '.join(_WRAPPERS)}"
        )
    return state


def read_checkpoint(content: bytes, path: Path) -> object:
    """What `torch.save` put into a file, if it is tensors and plain containers."""
    _refuse_bomb(content, path)
    try:
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"asks to run {asked[1]}" if asked else "holds more than tensors"
        raise Refused(f"{path}: {what}, so it is not loaded; {SAVE_WEIGHTS}") from error
    except Exception as error:
        if "TorchScript" in str(error):
            raise Refused(f"{path}: holds a TorchScript program, so it is not loaded; {SAVE_WEIGHTS}") from error
        raise CannotRun(f"{path}: not a checkpoint of torch.save, or damaged; {SAVE_WEIGHTS}") from error


def state_of(found: object) -> State | None:
    """The state dict that an object is, or holds under one of the usual names."""
    if not isinstance(found, Mapping):
        return None
    if found and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()):
        return dict(found)
    inner = [found[name] for name in _WRAPPERS if name in found]
    return next((state for state in map(state_of, inner) if state is not None), None)


def is_safetensors(content: bytes) -> bool:
    """Whether the file begins as one: the length of a JSON object, and the object."""
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content) - 8


def is_pickle(content: bytes) -> bool:
    """Whether the file begins as a binary pickle, or is what joblib compresses one with."""
    return (content[:1] == b"\x80" and content[1:2] <= b"\x05") or content.startswith(
        (
            b"\x1f\x8b",
            b"BZh",
            b"\xfd7zXZ",
            b"\x04\x22\x4d\x18",
            b"\x78\x01",
            b"\x78\x5e",
            b"\x78\x9c",
            b"\x78\xda",
        )
    )


def _from_safetensors(content: bytes, path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise CannotRun(f"{path}: a damaged safetensors file; {SAVE_WEIGHTS}") from error


def _refuse_bomb(content: bytes, path: Path) -> None:
    """`torch.save` never compresses: an archive that would grow was not made by it."""
    if not content.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise CannotRun(f"{path}: a damaged archive; {SAVE_WEIGHTS}") from error
    if sum(i.file_size for i in infos) > len(content):
        raise Refused(f"{path}: unpacks to more than its size, as no file of torch.save does; {SAVE_WEIGHTS}")
