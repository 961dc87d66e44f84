import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from brinell.errors import CannotRun, UsageError
from brinell.targets import SklearnBackend, target
from brinell.threat import Access


def table(classes):
    return make_classification(90, 6, n_informative=5, n_redundant=0, n_classes=classes, random_state=0)


def logistic():
    return LogisticRegression()


class Fixed:
    classes_ = np.array(["b", "a", "c"])

    def predict(self, x):
        return np.array(["a", "b", "c", "a"])[: len(x)]


class Odd:
    classes_ = np.array([0, 1])

    def predict(self, x):
        return np.full(len(x), 7)

    def decision_function(self, x):
        return np.zeros((len(x), 5))


class One(Odd):
    classes_ = np.array([0])


ZOO = [
    logistic(),
    make_pipeline(StandardScaler(), SVC()),
    GridSearchCV(logistic(), {"C": [0.1, 1.0]}, cv=2),
    SVC(decision_function_shape="ovo"),
    SVC(kernel="linear"),
    LinearSVC(),
    RidgeClassifier(),
    Perceptron(),
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(8, random_state=0),
    GradientBoostingClassifier(n_estimators=4, random_state=0),
    HistGradientBoostingClassifier(max_iter=3, random_state=0),
    KNeighborsClassifier(),
    NearestCentroid(),
    GaussianNB(),
    MLPClassifier((6,), solver="lbfgs", max_iter=500, random_state=0),
    VotingClassifier([("l", logistic()), ("t", DecisionTreeClassifier(random_state=0))]),
    VotingClassifier([("l", logistic()), ("n", GaussianNB())], voting="soft"),
    OneVsRestClassifier(logistic()),
    OneVsOneClassifier(logistic()),
    CalibratedClassifierCV(LinearSVC(), cv=2),
]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("estimator", ZOO, ids=lambda e: type(e).__name__)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_labels_are_those_of_predict(estimator, classes):
    rows, y = table(classes)
    names = np.array(["oak", "ash", "elm"])
    estimator.fit(rows, names[y])
    backend = SklearnBackend(estimator)
    x = torch.from_numpy(rows)

    decided = [backend.classes[i] for i in backend.labels(x)]

    assert backend.classes == tuple(sorted(names[:classes].tolist()))
    assert decided == estimator.predict(rows).tolist()
    if backend.access == Access.SCORES:
        scores = backend.scores(x)
        assert scores.shape == (90, classes)
        # A vote can be tied; apart from that the largest score is the decision.
        assert (scores.argmax(1) == backend.labels(x)).float().mean() > 0.9


def test_two_scores_of_a_binary_decision_differ_by_it():
    rows, y = table(2)
    estimator = logistic().fit(rows, y)
    scores = SklearnBackend(estimator).scores(torch.from_numpy(rows))
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], estimator.decision_function(rows))
    assert scores.dtype == torch.float64


def test_hard_votes_and_pairwise_machines_show_labels_only():
    rows, y = table(3)
    vote = VotingClassifier([("l", logistic()), ("n", GaussianNB())]).fit(rows, y)
    pairs = make_pipeline(StandardScaler(), SVC(decision_function_shape="ovo")).fit(rows, y)
    for estimator in (vote, pairs):
        asked = target(estimator, (-9, 9))
        assert asked.access == Access.LABELS
        with pytest.raises(UsageError, match="shows LABELS; this needs SCORES"):
            asked.scores(torch.from_numpy(rows))


def test_images_are_flattened_and_keep_their_precision():
    rows, y = table(2)
    seen = []

    def watch(x):
        seen.append((x.shape, x.dtype))
        return x

    estimator = make_pipeline(FunctionTransformer(np.copy), logistic()).fit(rows, y)
    backend = SklearnBackend(estimator)
    backend._estimator.steps[0][1].func = watch
    backend.labels(torch.from_numpy(rows).reshape(-1, 1, 2, 3))
    backend.labels(torch.from_numpy(rows).reshape(-1, 1, 2, 3).float())
    assert seen == [((90, 6), np.float64), ((90, 6), np.float32)]


def test_columns_with_names_come_as_a_frame():
    pandas = pytest.importorskip("pandas")
    rows, y = table(2)
    frame = pandas.DataFrame(rows, columns=list("abcdef"))
    backend = SklearnBackend(logistic().fit(frame, y))
    assert backend.labels(torch.from_numpy(rows)).shape == (90,)


def test_classes_need_not_be_sorted():
    assert SklearnBackend(Fixed()).labels(torch.zeros(4, 2)).tolist() == [1, 0, 2, 1]


def test_the_estimator_is_a_snapshot_with_a_digest():
    rows, y = table(2)
    estimator = logistic().fit(rows, y)
    before = SklearnBackend(estimator)
    x = torch.from_numpy(rows)
    scores = before.scores(x)
    estimator.fit(-rows, y)
    assert torch.equal(before.scores(x), scores)
    assert before.digest() != SklearnBackend(estimator).digest()
    assert before.digest() == SklearnBackend(logistic().fit(rows, y)).digest()
    assert before.copy() is before


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (LogisticRegression, "LogisticRegression is a class"),
        (LogisticRegression(), "fit it first"),
        (LinearRegression(), "not a regressor"),
        (StandardScaler(), "lacks predict"),
    ],
)
def test_what_is_no_fitted_classifier_is_refused(estimator, words):
    with pytest.raises(UsageError, match=words):
        SklearnBackend(estimator)


@pytest.mark.parametrize(
    "estimator",
    [DecisionTreeClassifier(), MultiOutputClassifier(logistic()), MLPClassifier((3,), max_iter=1)],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_several_outputs_are_refused(estimator):
    rows, y = table(2)
    estimator.fit(rows, np.stack([y, 1 - y], axis=1))
    with pytest.raises(UsageError, match=r"several outputs|one class an example"):
        SklearnBackend(estimator).labels(torch.from_numpy(rows))


def test_one_class_is_not_enough_to_attack():
    with pytest.raises(UsageError, match="at least 2"):
        SklearnBackend(One())


def test_answers_that_are_no_classes_are_named():
    backend = SklearnBackend(Odd())
    with pytest.raises(UsageError, match="returned 7, which is not among its classes_ 0, 1"):
        backend.labels(torch.zeros(3, 2))
    with pytest.raises(UsageError, match=r"shape \(3, 5\)"):
        backend.scores(torch.zeros(3, 2))


def test_a_lambda_cannot_be_identified():
    rows, y = table(2)
    estimator = make_pipeline(FunctionTransformer(lambda x: x), logistic()).fit(rows, y)
    with pytest.raises(CannotRun, match="replace lambdas"):
        SklearnBackend(estimator)


def test_an_estimator_that_knows_its_columns_is_asked_without_a_warning() -> None:
    """Warnings are errors here."""
    x, y = np.random.default_rng(0).random((40, 3)), np.arange(40) % 2
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    for step in (pipeline[0], pipeline[1]):
        step.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
    backend = SklearnBackend(pipeline)
    assert backend.features == ("a", "b", "c")
    assert backend.scores(torch.rand(4, 3)).shape == (4, 2)
    assert list(pipeline[0].feature_names_in_) == ["a", "b", "c"]
