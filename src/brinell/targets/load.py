"""From what the user has (an object, a factory, a file) to a target. No file is ever trusted to run code."""

import hashlib
import importlib
import importlib.util
import io
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from torch import nn

from brinell.arguments import a_kind, checked
from brinell.errors import BrinellError, CannotRun, MissingExtra, Refused, UsageError
from brinell.targets.backend import Backend
from brinell.targets.exported import load_exported
from brinell.targets.generators import generators_kept
from brinell.targets.onnx import OnnxBackend
from brinell.targets.reading import read_bytes
from brinell.targets.sklearn import SklearnBackend
from brinell.targets.target import Scale, Target
from brinell.targets.torch import TorchBackend
from brinell.targets.weights import (
    SAVE_WEIGHTS,
    fill,
    is_pickle,
    is_safetensors,
    read_checkpoint,
    state_of,
)
from brinell.threat import Box

Bounds = Box | tuple[float | Sequence[float], float | Sequence[float]]

UNIT: Bounds = (0, 1)

UNDERSTOOD = "FILE.py:FACTORY, package.module:FACTORY, FILE.pt2, FILE.onnx, FILE.skops"

PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".bin", ".ckpt")

CONVERT = (
    "where you trust it, write torch.save(model.state_dict(), 'weights.pt') and give FILE.py:FACTORY with "
    "weights=weights.pt, or for scikit-learn skops.io.dump(estimator, 'model.skops')"
)

MEGABYTE = 2**20


@checked(but=("box",))
@generators_kept()
def target(model: object, box: Bounds = UNIT, mean: Scale = None, std: Scale = None) -> Target:
    """A target of an object: an nn.Module, a fitted classifier with `predict` and `classes_`, or a Target.

    box: (lowest, highest) valid input, a number or one a feature. mean, std: the model sees (x - mean) / std.
    """
    if isinstance(model, Target):
        if mean is not None or std is not None or Box.of(box) != Box.of(UNIT):
            raise UsageError("the target has its box, mean and std already; give the model, not the target")
        return model
    return Target(_backend(model), Box.of(box), mean=mean, std=std)


@checked(but=("box",))
@generators_kept()
def load(
    model: object,
    *,
    weights: str | os.PathLike[str] | None = None,
    box: Bounds = UNIT,
    mean: Scale = None,
    std: Scale = None,
) -> Target:
    """A target of an object or of a file.

    model: what `target` accepts, or one of
    - `FILE.py:NAME`, `package.module:NAME`: a factory called without arguments, a module, or an estimator;
    - `FILE.pt2` (torch.export), `FILE.onnx`, `FILE.skops` (scikit-learn).
    weights: for a torch module, a `.safetensors` file or a checkpoint of its state dict.

    Only the Python that `NAME` points to is run. Files are recognised by their content, and a pickle, or a
    file that holds one, is refused whatever it is called. Raises UsageError, CannotRun, Refused or
    MissingExtra, each with the remedy in its one line.
    """
    made = _from_name(os.fspath(model)) if isinstance(model, str | os.PathLike) else model
    if weights is not None:
        if not isinstance(made, nn.Module):
            raise UsageError(f"weights go into a torch module; {model} is a {type(made).__name__}")
        made = fill(made, Path(weights))
    return target(made, box, mean, std)


def _from_name(name: str) -> object:
    path = Path(name)
    if not path.exists():
        source, colon, attribute = name.rpartition(":")
        if colon and source and attribute:
            return _from_code(source, attribute)
        raise UsageError(f"{name}: there is no such file; a model is one of {UNDERSTOOD}")
    if path.suffix == ".py":
        raise UsageError(f"{name}: name what makes the model, as in {name}:FACTORY")
    if not path.is_file():
        raise UsageError(f"{name}: not a file; a model is one of {UNDERSTOOD}")
    return _from_file(path)


def _from_file(path: Path) -> object:
    """The model of a file, which its content has to agree to be."""
    content = read_bytes(path)
    members = _members(content)
    if any(name.endswith("archive_format") for name in members) or path.suffix == ".pt2":
        _refuse_pickle(path, content)
        return load_exported(path)
    if "schema.json" in members or path.suffix == ".skops":
        _refuse_pickle(path, content)
        return _from_skops(path, content)
    if is_safetensors(content):
        raise UsageError(f"{path}: holds weights only; give the factory, with weights={path}: {UNDERSTOOD}")
    if path.suffix in PICKLED or any(name.endswith("data.pkl") for name in members):
        return _only_pickled(path, content)
    _refuse_pickle(path, content)
    if path.suffix == ".onnx":
        return OnnxBackend(path)
    if path.suffix == ".safetensors":
        raise CannotRun(f"{path}: not a safetensors file, or damaged; {SAVE_WEIGHTS}")
    raise UsageError(f"{path}: not a model that is understood; a model is one of {UNDERSTOOD}")


def _refuse_pickle(path: Path, content: bytes) -> None:
    if is_pickle(content):
        raise Refused(f"{path}: its content is a pickle, which may run code; {CONVERT}")


def _only_pickled(path: Path, content: bytes) -> NoReturn:
    """Say what to do with a file of torch.save, pickle or joblib; nothing in it is run to find out."""
    try:
        found = read_checkpoint(content, path)
    except CannotRun as error:
        raise Refused(f"{path}: loading a pickled model can run any code; {CONVERT}") from error
    what = "holds weights only" if state_of(found) is not None else f"holds a {type(found).__name__}, not a model"
    raise UsageError(f"{path}: {what}; give the factory that makes the model, with weights={path}: FILE.py:FACTORY")


def _from_skops(path: Path, content: bytes) -> object:
    try:
        import skops.io
    except ImportError:
        raise MissingExtra("skops", "sklearn") from None
    infos = _infos(content)
    if sum(i.file_size for i in infos) > 100 * len(content) + MEGABYTE:
        raise Refused(f"{path}: unpacks to more than 100 times its size; save the estimator again")
    try:
        unknown = skops.io.get_untrusted_types(data=content)
        if not unknown:
            return skops.io.loads(content, trusted=[])
    except Exception as error:
        raise CannotRun(f"{path}: not a file of skops.io.dump, or damaged ({_reason(error)}); save it again") from error
    raise Refused(
        f"{path}: asks for types that may run code: {', '.join(map(str, unknown))[:200]}; "
        "give a factory that builds the estimator: FILE.py:FACTORY"
    )


def _members(content: bytes) -> list[str]:
    return [info.filename for info in _infos(content)]


def _infos(content: bytes) -> list[zipfile.ZipInfo]:
    """The table of a zip archive; empty where the content is none."""
    if not content.startswith(b"PK"):
        return []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        return []


def _backend(model: object) -> Backend:
    if isinstance(model, Backend):
        return model
    if isinstance(model, nn.Module):
        return TorchBackend(model)
    if hasattr(model, "predict"):
        return SklearnBackend(model)
    raise UsageError(f"the model is {a_kind(model)}; it must be an nn.Module or a classifier with predict")


def _from_code(source: str, name: str) -> object:
    """What `source:name` stands for: called if it is a factory, taken if it is a model."""
    with _importable(source):
        module = _module(source)
        if not hasattr(module, name):
            names = [n for n, v in vars(module).items() if callable(v) and _is_own(v, module) and n[0] != "_"]
            raise UsageError(f"{source} has no {name!r}; it has: {', '.join(names) or 'nothing callable'}")
        found = getattr(module, name)
        if isinstance(found, nn.Module) or not callable(found):
            made = found
        else:
            try:
                made = found()
            except BrinellError:
                raise
            except (Exception, SystemExit) as error:
                raise CannotRun(f"{source}:{name} raised {_reason(error)}; it is called without arguments") from error

    if not isinstance(made, nn.Module) and not hasattr(made, "predict"):
        raise UsageError(
            f"{source}:{name} gave a {type(made).__name__}; it must return an nn.Module or a fitted classifier"
        )
    return made


def _is_own(value: object, module: ModuleType) -> bool:
    """Whether a name of the module is its own, not one it imported."""
    return getattr(value, "__module__", None) == module.__name__ or isinstance(value, nn.Module)


def _module(source: str) -> ModuleType:
    try:
        if not source.endswith(".py"):
            return importlib.import_module(source)
        return _module_of_file(Path(source))
    except BrinellError:
        raise
    except (Exception, SystemExit) as error:  # a script may end itself
        raise CannotRun(f"{source} cannot be imported: {_reason(error)}") from error


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    # Named by content: two files called model.py live side by side; one file has one name wherever it lies.
    name = f"{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CannotRun(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # copying and pickling the model look its classes up here
    spec.loader.exec_module(module)
    return module


@contextmanager
def _importable(source: str) -> Iterator[None]:
    """The file's folder (or the working folder) on the import path, as when Python runs the file itself."""
    folder = str(Path(source).resolve().parent if source.endswith(".py") else Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
