"""The torch form of a fitted model answers as the model does."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC

import brinell
from brinell.errors import UsageError
from brinell.targets.differentiable import differentiable
from brinell.threat import Access
from models import generator, relu_net, target

ESTIMATORS = [
    LogisticRegression(),
    LinearSVC(),
    RidgeClassifier(),
    Perceptron(),
    SGDClassifier(random_state=0),
    LinearDiscriminantAnalysis(),
    SVC(),
    SVC(kernel="linear", C=0.3),
    SVC(kernel="poly", degree=2, coef0=0.5),
    SVC(kernel="sigmoid", gamma=0.1, coef0=0.2),
    SVC(gamma=3.0),
    NuSVC(nu=0.2),
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(StandardScaler(with_mean=False), SVC()),
    make_pipeline(MinMaxScaler((-1, 2)), "passthrough", SVC()),
    make_pipeline(RobustScaler(), MaxAbsScaler(), LinearSVC()),
    make_pipeline(RobustScaler(with_centering=False, with_scaling=False), LogisticRegression()),
    GridSearchCV(SVC(), {"C": [0.5, 2.0]}, cv=2),
]


def sample(classes: int, n: int = 90, features: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    y = np.arange(n) % classes
    centres = rng.random((classes, features))
    return 0.5 * centres[y] + 0.5 * rng.random((n, features)), y


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: repr(e).replace("\n", "")[:60])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scores_are_those_of_the_estimator(estimator, classes: int, dtype: torch.dtype) -> None:
    x, y = sample(classes)
    own = brinell.target(estimator.fit(x, y), box=(-5, 5))
    asked = torch.from_numpy(np.concatenate([x, 3 * np.random.default_rng(1).normal(size=(200, 5))])).to(dtype)
    twin = differentiable(own)
    near = 1e-10 if dtype == torch.float64 else 1e-5  # scalers of scikit-learn round float32 rows to float32
    assert torch.allclose(twin.scores(asked).double(), own.scores(asked).double(), rtol=near, atol=near)
    assert twin.access >= Access.GRADIENTS
    if "SVC" not in repr(estimator):
        assert torch.equal(twin.labels(asked), own.labels(asked))


@pytest.mark.parametrize("estimator", [LogisticRegression(), SVC(), SVC(kernel="poly")], ids=repr)
def test_gradients_are_those_of_the_scores(estimator) -> None:
    x, y = sample(3)
    twin = differentiable(brinell.target(estimator.fit(x, y)))
    at = torch.rand(6, 5, generator=generator(), dtype=torch.float64)
    _, _, g = twin.gradient(at, lambda scores, rows: scores[:, 1] - scores[:, 0])
    step, lead = 1e-6, lambda z: twin.scores(z)[:, 1] - twin.scores(z)[:, 0]
    for feature in range(5):
        moved = torch.zeros_like(at)
        moved[:, feature] = step
        slope = (lead(at + moved) - lead(at - moved)) / (2 * step)
        assert torch.allclose(slope, g[:, feature], atol=1e-5)


def test_mean_and_std_stay_with_the_target() -> None:
    x, y = sample(3)
    own = brinell.target(LogisticRegression().fit(x, y), mean=0.3, std=0.5)
    asked = torch.rand(7, 5, generator=generator())
    assert torch.allclose(differentiable(own).scores(asked), own.scores(asked), atol=1e-6)


def test_images_are_flattened_as_the_estimator_sees_them() -> None:
    x, y = sample(3, features=6)
    own = brinell.target(SVC().fit(x, y))
    asked = torch.rand(7, 1, 2, 3, generator=generator())
    assert torch.allclose(differentiable(own).scores(asked), own.scores(asked), atol=1e-6)


def test_what_shows_gradients_already_comes_back() -> None:
    own = target(relu_net((4,)))
    assert differentiable(own) is own


def test_what_has_no_formula_is_refused_by_name() -> None:
    x, y = sample(3)
    for estimator, says in (
        (KNeighborsClassifier(), "KNeighborsClassifier is not written out"),
        (make_pipeline(PolynomialFeatures(2), LogisticRegression()), "the step PolynomialFeatures"),
        (make_pipeline(MinMaxScaler(clip=True), LogisticRegression()), "the step MinMaxScaler"),
        (SVC(kernel="precomputed"), "has the kernel 'precomputed'"),
    ):
        rows = x @ x.T if "precomputed" in repr(estimator) else x
        with pytest.raises(UsageError, match=says):
            differentiable(brinell.target(estimator.fit(rows, y)))


def test_a_black_box_is_not_looked_into() -> None:
    x, y = sample(3)
    own = brinell.target(LogisticRegression().fit(x, y))
    with pytest.raises(UsageError, match="shows LABELS only"):
        differentiable(own.restrict(Access.LABELS))
    with pytest.raises(UsageError, match="no scikit-learn estimator"):
        differentiable(target(relu_net((4,)), access=Access.SCORES))
