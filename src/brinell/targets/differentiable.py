"""Fitted scikit-learn models written out in torch: the same scores, and gradients with them.

Whoever holds a linear model or a kernel machine knows its formula, so an attack on it needs no estimate of a gradient.
Computed in float64, from the numbers that the estimator holds.
"""

from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from brinell.errors import UsageError
from brinell.targets.sklearn import SklearnBackend
from brinell.targets.target import Target
from brinell.targets.torch import TorchBackend
from brinell.threat import Access
from brinell.types import Inputs, Logits

LINEAR = (
    "LinearDiscriminantAnalysis",
    "LinearSVC",
    "LogisticRegression",
    "LogisticRegressionCV",
    "PassiveAggressiveClassifier",
    "Perceptron",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SGDClassifier",
)
"""Estimators whose decision function is `coef_ @ x + intercept_`."""

MACHINES = ("NuSVC", "SVC")
"""Kernel machines of libsvm."""


def differentiable(target: Target) -> Target:
    """The same model with gradients. What it finds is shown to the model itself by `Transfer`.

    For linear classifiers and kernel machines of scikit-learn, behind any number of scalers; what shows gradients
    already comes back as it is. Labels are the argmax of the scores, which for SVC are not always those of `predict`.
    Raises UsageError where there is no such formula, or where the model may not be looked into.
    """
    if target.access >= Access.GRADIENTS:
        return target
    estimator = fitted(target)
    *before, last = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
    parts = [_scaler(step) for step in before if step not in ("passthrough", None)]
    module = nn.Sequential(nn.Flatten(), *parts, _classifier(last))
    return Target(TorchBackend(module), target.box, mean=target.mean, std=target.std, chunk=target.chunk)


def fitted(target: Target) -> Any:
    """The scikit-learn estimator behind a target, for a holder of the model. Raises UsageError where that is hidden."""
    if not isinstance(target.backend, SklearnBackend):
        raise UsageError(f"{target.describe()} is no scikit-learn estimator, so its formula is not known")
    if target.max_access < Access.WEIGHTS:
        raise UsageError(f"the target shows {target.max_access.name} only; give the model itself to read its formula")
    estimator = target.backend.estimator
    return getattr(estimator, "best_estimator_", estimator)


@final
class LinearScores(nn.Module):
    """weight @ x + offset."""

    weight: Tensor
    offset: Tensor

    def __init__(self, weight: Any, offset: Any) -> None:
        super().__init__()
        self.register_buffer("weight", _double(weight))
        self.register_buffer("offset", _double(offset))

    def forward(self, x: Inputs) -> Logits:
        return x @ self.weight.T + self.offset


@final
class Scaler(nn.Module):
    """factor * x + shift, feature by feature."""

    factor: Tensor
    shift: Tensor

    def __init__(self, factor: Any, shift: Any) -> None:
        super().__init__()
        self.register_buffer("factor", _double(factor))
        self.register_buffer("shift", _double(shift))

    def forward(self, x: Inputs) -> Inputs:
        return self.factor * x + self.shift


@final
class KernelMachine(nn.Module):
    """libsvm's decisions between pairs of classes, and the scores that scikit-learn makes of them.

    With two classes the decision d is the scores (-d/2, d/2). With more, a class scores the pairs it wins, plus a share
    below 1/3 for how clearly: the votes are steps, so gradients come from that share alone.
    """

    support: Tensor
    weight: Tensor
    offset: Tensor
    pairs: Tensor

    def __init__(self, machine: Any) -> None:
        super().__init__()
        if machine.kernel not in ("linear", "poly", "rbf", "sigmoid") or machine._sparse:
            raise UsageError(
                f"{type(machine).__name__} has the kernel {machine.kernel!r}, or was fitted on sparse rows; "
                "only linear, poly, rbf and sigmoid on dense rows are written out"
            )
        classes = len(machine.classes_)
        self._kernel = machine.kernel
        self._degree = machine.degree
        self._gamma = float(machine._gamma)
        self._constant = float(machine.coef0)
        pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
        ends = np.cumsum([0, *machine._n_support])
        weight = np.zeros((len(pairs), len(machine.support_vectors_)))
        signs = np.zeros((len(pairs), classes))

        for pair, (i, j) in enumerate(pairs):
            for own, other in ((i, j - 1), (j, i)):  # a vector has one coefficient for each class but its own
                rows = slice(ends[own], ends[own + 1])
                weight[pair, rows] = machine._dual_coef_[other, rows]
            signs[pair, i] = 1
            signs[pair, j] = -1

        self.register_buffer("support", _double(machine.support_vectors_))
        self.register_buffer("weight", _double(weight))
        self.register_buffer("offset", _double(machine._intercept_))
        self.register_buffer("pairs", _double(signs))

    def forward(self, x: Inputs) -> Logits:
        decisions = self._kernel_of(x) @ self.weight.T + self.offset  # of pair (i, j): positive for i
        if decisions.shape[1] == 1:
            return decisions / 2 * self.pairs
        won = (decisions >= 0).to(x.dtype)
        votes = won @ self.pairs.clamp(min=0) + (1 - won) @ (-self.pairs).clamp(min=0)
        lead = decisions @ self.pairs
        return votes + lead / (3 * (lead.abs() + 1))

    def _kernel_of(self, x: Inputs) -> Tensor:
        products: Tensor = x @ self.support.T
        match self._kernel:
            case "linear":
                return products
            case "poly":
                return torch.pow(self._gamma * products + self._constant, self._degree)
            case "sigmoid":
                return torch.tanh(self._gamma * products + self._constant)
        return torch.exp(-self._gamma * squared_distances(x, self.support))


def squared_distances(x: Inputs, points: Tensor) -> Tensor:
    """Of each row of x to each point, never below zero."""
    squares: Tensor = x.square().sum(1, keepdim=True) - 2 * (x @ points.T) + points.square().sum(1)
    return torch.clamp(squares, min=0)


def _classifier(estimator: Any) -> nn.Module:
    name = type(estimator).__name__
    if name in MACHINES:
        return KernelMachine(estimator)
    if name not in LINEAR:
        known = ", ".join((*LINEAR, *MACHINES))
        raise UsageError(f"{name} is not written out in torch; the classifiers that are: {known}")
    weight = np.atleast_2d(estimator.coef_)
    offset = np.atleast_1d(estimator.intercept_)
    halves = np.array([[-0.5], [0.5]])
    return LinearScores(weight, offset) if len(weight) > 1 else LinearScores(halves * weight, halves[:, 0] * offset)


def _scaler(step: Any) -> Scaler:
    name = type(step).__name__
    if name == "MinMaxScaler" and not step.clip:
        return Scaler(step.scale_, step.min_)
    if name in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
        centre = {"StandardScaler": "mean_", "RobustScaler": "center_"}.get(name, "")
        factor = np.ones(step.n_features_in_) if step.scale_ is None else 1 / step.scale_
        shift = getattr(step, centre, None)
        # StandardScaler keeps a mean that it does not take away when it only scales.
        return Scaler(factor, 0 * factor if shift is None or not getattr(step, "with_mean", True) else -shift * factor)
    raise UsageError(f"the step {name} is not written out in torch; the steps that are: scalers without clipping")


def _double(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))
