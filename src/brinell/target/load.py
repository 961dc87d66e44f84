"""From what the user has (an object, a factory, a file) to a target. No file is ever trusted to run code."""

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from brinell.errors import BrinellError, CannotRun, UsageError
from brinell.target.backend import Backend
from brinell.target.sklearn import SklearnBackend
from brinell.target.target import Scale, Target
from brinell.target.torch import TorchBackend
from brinell.threat import Box

Bounds = Box | tuple[float | Sequence[float], float | Sequence[float]]

UNIT: Bounds = (0, 1)


def target(model: object, box: Bounds = UNIT, mean: Scale = None, std: Scale = None) -> Target:
    """A target of an object: an nn.Module, a fitted classifier with `predict` and `classes_`, or a Target.

    box: (lowest, highest) valid input, a number or one a feature. mean, std: the model sees (x - mean) / std.
    """
    if isinstance(model, Target):
        if mean is not None or std is not None or Box.of(box) != Box.of(UNIT):
            raise UsageError("the target has its box, mean and std already; give the model, not the target")
        return model
    return Target(_backend(model), Box.of(box), mean=mean, std=std)


def load(
    model: object,
    *,
    weights: str | os.PathLike[str] | None = None,
    box: Bounds = UNIT,
    mean: Scale = None,
    std: Scale = None,
) -> Target:
    """A target of an object or of a file.

    model: what `target` accepts, or `FILE.py:NAME` or `package.module:NAME` (a factory without arguments, a
    module, or an estimator).
    """
    made = _from_name(model) if isinstance(model, str | os.PathLike) else model
    return target(made, box, mean, std)


def _from_name(model: str | os.PathLike[str]) -> object:
    name = os.fspath(model)
    source, colon, attribute = name.rpartition(":")
    if colon and not Path(name).exists():
        return _from_code(source, attribute)
    raise UsageError(f"{name}: not understood")


def _backend(model: object) -> Backend:
    if isinstance(model, Backend):
        return model
    if isinstance(model, nn.Module):
        return TorchBackend(model)
    if hasattr(model, "predict"):
        return SklearnBackend(model)
    raise UsageError(
        f"the model is a {type(model).__name__}; it must be an nn.Module or a classifier with predict"
    )


def _from_code(source: str, name: str) -> object:
    """What `source:name` stands for: called if it is a factory, taken if it is a model."""
    # Building a network draws its first weights: the caller's generator must not notice.
    with _importable(source), torch.random.fork_rng(devices=[]):
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
            except Exception as error:
                raise CannotRun(
                    f"{source}:{name} raised {_reason(error)}; it is called without arguments"
                ) from error
    if not isinstance(made, nn.Module) and not hasattr(made, "predict"):
        raise UsageError(
            f"{source}:{name} gave a {type(made).__name__}; "
            "it must return an nn.Module or a fitted classifier"
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
    except Exception as error:
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
