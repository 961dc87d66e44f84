"""scikit-learn estimators, and whatever else has `predict` and `classes_`: scores or labels."""

import copy
import hashlib
import pickle
from typing import Any, final

import numpy as np
import torch

from brinell.errors import CannotRun, MissingExtra, UsageError
from brinell.targets.backend import Backend, as_logits
from brinell.threat import Access
from brinell.types import Inputs, Labels, Logits

Array = np.ndarray


@final
class SklearnBackend(Backend):
    """A snapshot of a fitted classifier. Inputs of any shape are flattened to (batch, features).

    Scores come from `decision_function`, else from `predict_proba`; without either, only labels are shown.
    Labels are always those of `predict`, which for some estimators (SVC) are not the argmax of their scores.
    A binary decision value d becomes the two scores (-d/2, d/2), so that their difference is d.
    """

    def __init__(self, estimator: object) -> None:
        self._name = type(estimator).__name__
        self._class_values = _classes(estimator)
        self.classes: tuple[str, ...] = tuple(map(str, self._class_values))
        self._digest = _digest(estimator)
        try:
            self._estimator: Any = copy.deepcopy(estimator)
        except Exception as error:
            raise CannotRun(f"the estimator {self._name} cannot be copied: {error}") from error
        names = getattr(self._estimator, "feature_names_in_", None)
        self.features: tuple[str, ...] | None = None if names is None else tuple(map(str, names))
        _forget_names(self._estimator)
        self._scorer = _scorer(self._estimator, len(self.classes))
        self.access = Access.LABELS if self._scorer is None else Access.SCORES

    @property
    def estimator(self) -> Any:
        """The snapshot itself, for proofs that read it; it must not be changed."""
        return self._estimator

    def scores(self, x: Inputs) -> Logits:
        if self._scorer is None:
            raise UsageError(f"{self.describe()} gives labels only; use an attack that needs LABELS")
        scores = np.asarray(getattr(self._estimator, self._scorer)(self._table(x)))
        if scores.size == len(x):
            half = scores.reshape(len(x)) / 2
            scores = np.stack([-half, half], axis=1)
        if scores.ndim != 2 or scores.shape[1] != len(self.classes):
            raise UsageError(
                f"{self._name}.{self._scorer} returned shape {scores.shape} for {len(x)} examples "
                f"and {len(self.classes)} classes; it must give one score a class"
            )
        tensor = torch.from_numpy(scores)
        return as_logits(tensor.to(x.device, torch.promote_types(tensor.dtype, torch.float32)), len(x))

    def labels(self, x: Inputs) -> Labels:
        decided = np.asarray(self._estimator.predict(self._table(x)))
        if decided.shape != (len(x),):
            raise UsageError(
                f"{self._name}.predict returned shape {decided.shape} for {len(x)} examples; "
                "it must return one class an example"
            )
        order = np.argsort(self._class_values)
        place = np.searchsorted(self._class_values, decided, sorter=order).clip(max=len(order) - 1)
        index = order[place]
        strange = self._class_values[index] != decided
        if strange.any():
            raise UsageError(
                f"{self._name}.predict returned {decided[strange][0]}, "
                f"which is not among its classes_ {', '.join(self.classes)}"
            )
        return torch.from_numpy(index.astype(np.int64)).to(x.device)

    def digest(self) -> str:
        return self._digest

    def describe(self) -> str:
        inner = getattr(self._estimator, "best_estimator_", self._estimator)
        steps = [type(step).__name__ for _, step in getattr(inner, "steps", [])]
        return f"{' > '.join(steps) or type(inner).__name__} with {len(self.classes)} classes"

    def copy(self) -> "SklearnBackend":
        return self  # predict reads only: threads may share it

    def _table(self, x: Inputs) -> object:
        """The rows as the estimator was fitted on them: an array, or a frame if its columns had names."""
        rows = x.detach().cpu().flatten(1).numpy()
        names = getattr(self._estimator, "feature_names_in_", None)
        if names is None:
            return rows
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError:
            return rows
        return pandas.DataFrame(rows, columns=names)


def _forget_names(part: object) -> None:
    """Take the names of columns off a fitted estimator and all that it holds.

    It is asked with arrays, and would warn of it at every call. That the columns are its own is checked where a table
    is read.
    """
    if isinstance(part, list | tuple):
        for one in part:
            _forget_names(one)
    elif hasattr(part, "get_params") and hasattr(part, "__dict__"):
        vars(part).pop("feature_names_in_", None)
        for held in list(vars(part).values()):
            _forget_names(held)


def _classes(estimator: object) -> Array:
    """The class values of a fitted single-output classifier, in the order of its scores."""
    name = type(estimator).__name__
    if isinstance(estimator, type):
        raise UsageError(f"{estimator.__name__} is a class, not an estimator; create it and fit it first")
    if not callable(getattr(estimator, "predict", None)) or getattr(estimator, "classes_", None) is None:
        raise UsageError(f"{name} lacks predict or classes_; give a classifier, not a regressor, and fit it first")
    values: Any = estimator.classes_  # type: ignore[attr-defined]  # asked for two lines above
    many_outputs = isinstance(values, list) and any(np.ndim(v) > 0 for v in values)
    if many_outputs or getattr(estimator, "multilabel_", False) or np.ndim(values) != 1:
        raise UsageError(f"{name} has several outputs; audit one output at a time, each as its own classifier")
    if len(values) < 2:
        raise UsageError(f"{name} knows {len(values)} class; fit it on at least 2")
    return np.asarray(values)


def _scorer(estimator: Any, classes: int) -> str | None:
    """The method that gives one score a class, or None where there is only `predict`."""
    if callable(getattr(estimator, "decision_function", None)) and not (classes > 2 and _pairwise(estimator)):
        return "decision_function"
    return "predict_proba" if callable(getattr(estimator, "predict_proba", None)) else None


def _pairwise(estimator: Any) -> bool:
    """Whether the decision function has a column a pair of classes: with 3 classes the shape cannot tell."""
    inner = getattr(estimator, "best_estimator_", estimator)
    params = inner.get_params() if hasattr(inner, "get_params") else {}
    return any(key.split("__")[-1] == "decision_function_shape" and v == "ovo" for key, v in params.items())


def _digest(estimator: object) -> str:
    """A hash of what answers: of a search, its best estimator, as the search itself holds running times."""
    try:
        import joblib  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtra("scikit-learn", "sklearn") from None
    inner = getattr(estimator, "best_estimator_", estimator)
    try:
        try:
            return str(joblib.hash(inner, hash_name="sha1"))
        except (TypeError, AttributeError, pickle.PicklingError):  # it cannot hash masked arrays
            return hashlib.sha256(pickle.dumps(inner)).hexdigest()
    except Exception as error:
        raise CannotRun(
            f"the estimator {type(estimator).__name__} cannot be pickled, so nothing identifies it; "
            "replace lambdas and local functions in it by functions of a module"
        ) from error
