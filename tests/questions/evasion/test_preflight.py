import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

import brinell
from brinell.data import Dataset, load
from brinell.demo import train_digits_network
from brinell.errors import CannotRun, Inconclusive, UsageError
from brinell.questions.evasion import accept, check
from brinell.questions.evasion.preflight import answered, seconds_per_row
from brinell.targets import Backend
from brinell.threat import Access
from questions.runs import examples, network


class Of(nn.Module):
    """The small network, changed before or after."""

    def __init__(self, after=lambda scores, x: scores, before=lambda x: x) -> None:
        super().__init__()
        self.inner, self.after, self.before = network(), after, before

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.inner(self.before(x)), x)


class Batchy(nn.Module):
    """Normalises by its batch, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(0.5 + (x - x.mean(0)) / (x.std(0, unbiased=False) + 0.1))


class Counting(nn.Module):
    """Tires of its first class the more it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x) - 0.01 * self.calls * torch.tensor([1.0, 0.0, 0.0])


class Undecided(Backend):
    """Decides for the second largest score."""

    access = Access.SCORES

    def scores(self, x):
        return network()(x).detach()

    def labels(self, x):
        return self.scores(x).argsort(1)[:, -2]

    def digest(self):
        return "undecided"

    def describe(self):
        return "undecided"

    def copy(self):
        return self


def raising(edge):
    def before(x):
        if (x[:, 0] > edge).any():
            raise ValueError("too much")
        return x

    return before


def noise(scores, x):
    return scores + 0.1 * torch.randn(scores.shape)


X, Y = examples(network(), 200)
HONEST = network()(X).argmax(1)
BATCHY = Batchy()(X).argmax(1)
PIXELS = torch.arange(256, dtype=torch.uint8).reshape(64, 1, 2, 2)

PLANTED = {
    "outside-box": (network(), (2 * X, HONEST), "severe"),
    "narrow-range": (Of(before=lambda x: 100 * (x - 0.5) + 0.5), (0.5 + (X - 0.5) / 100, HONEST), "warning"),
    "small-sample": (network(), (X[:20], HONEST[:20]), "note"),
    "pixels": (nn.Flatten(), (PIXELS, PIXELS.flatten(1).argmax(1)), "note"),
    "training-mode": (network().train(), (X, HONEST), "note"),
    "raises": (Of(before=raising(0.99)), (X, HONEST), "warning"),
    "random": (Of(noise), (X, HONEST), "severe"),
    "memory": (Counting(), (X, HONEST), "severe"),
    "non-finite": (Of(lambda s, x: torch.where(x[:, :1] > 0.9, torch.nan, s)), (X, HONEST), "warning"),
    "low-accuracy": (network(), (X, (HONEST + 1) % 3), "severe"),
    "scores-disagree": (Undecided(), (X, Undecided().labels(X)), "severe"),
    "batch-dependence": (Batchy(), (X, BATCHY), "severe"),
    "classes": (network(), (X, torch.where(X[:, 0] > 0.9, 3, HONEST)), "severe"),
    "absent-classes": (network(), (X[HONEST > 0], HONEST[HONEST > 0]), "note"),
    "probabilities": (Of(lambda s, x: s.softmax(1)), (X, HONEST), "severe"),
    "zero-gradients": (Of(before=lambda x: (x * 32).round() / 32), (X, HONEST), "severe"),
    "non-finite-gradients": (
        Of(lambda s, x: s + 0 * (x - x.detach()).abs().sum(1, keepdim=True).sqrt()),
        (X, HONEST),
        "severe",
    ),
}


def found(model, data):
    return check(brinell.target(model), Dataset.of(*data))


@pytest.mark.parametrize("code", PLANTED)
def test_every_code_is_found_where_it_was_planted(code):
    model, data, severity = PLANTED[code]
    found_ = {f.code: f for f in found(model, data)}
    assert code in found_
    assert found_[code].severity == severity
    assert found_[code].message
    assert found_[code].remedy
    severe = {f.code for f in found_.values() if f.severity == "severe"}
    assert severe <= {code}  # nothing else was planted


def test_every_code_in_the_source_was_planted():
    import inspect
    import re

    from brinell.questions.evasion import preflight

    source = inspect.getsource(preflight)
    codes = set(re.findall(r"_(?:severe|warning|note)\(\s*\"([a-z-]+)\"", source))
    codes |= set(re.findall(r"\)\(\"([a-z-]+)\", message", source))
    assert codes == set(PLANTED)


def digits():
    train, test = load("digits:train"), load("digits")
    return (train.x.flatten(1).numpy(), train.y.numpy()), test


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(max_iter=500),
        RandomForestClassifier(20, random_state=0),
        KNeighborsClassifier(),
        DecisionTreeClassifier(random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_nothing_severe_is_found_in_honest_estimators(estimator):
    train, test = digits()
    assert not [f for f in check(brinell.target(estimator.fit(*train)), test) if f.severity == "severe"]


def test_nothing_at_all_is_found_in_the_embedded_network():
    assert check(brinell.target(train_digits_network(10)), load("digits")) == []


def test_nothing_severe_is_found_in_honest_networks():
    normed = nn.Sequential(nn.BatchNorm1d(8), network()).train()
    normed(X)
    for model in (network(), normed, Of(lambda s, x: s.log_softmax(1)), network().double()):
        target = brinell.target(model)
        y = target.labels(X)
        assert not [f for f in check(target, Dataset.of(X, y)) if f.severity == "severe"]


@pytest.mark.parametrize("accuracy", [0.65, 0.75, 0.9])
def test_a_weak_binary_classifier_is_not_near_chance(accuracy):
    net = network(classes=2)
    y = net(X).argmax(1)
    wrong = torch.arange(200) % 100 >= 100 * accuracy
    assert "low-accuracy" not in {f.code for f in found(net, (X, torch.where(wrong, 1 - y, y)))}


def test_a_few_examples_do_not_show_that_a_model_is_bad():
    wrong = (HONEST[:4] + torch.tensor([0, 1, 1, 0])) % 3
    assert "low-accuracy" not in {f.code for f in found(network(), (X[:4], wrong))}


def test_missing_normalisation_is_told_with_its_remedy():
    model = Of(before=lambda x: x / 255)
    (low,) = (f for f in found(model, (X, HONEST)) if f.code == "low-accuracy")
    assert "multiplied by 255" in low.remedy


def test_permuted_labels_are_told_with_their_remedy():
    (low,) = (f for f in found(network(), (X, (HONEST + 1) % 3)) if f.code == "low-accuracy")
    assert "permuted" in low.remedy


def test_a_model_that_raises_on_everything_is_severe():
    findings = found(Of(before=raising(-1)), (X, HONEST))
    assert [f.code for f in findings if f.severity != "note"] == ["raises"]
    assert findings[0].severity == "severe"
    with pytest.raises(CannotRun, match="raises on every example"):
        answered(brinell.target(Of(before=raising(-1))), Dataset.of(X, HONEST))


def test_a_model_that_raises_on_one_example_is_checked_on_the_others():
    model = Of(lambda s, x: s.softmax(1), raising(0.99))
    assert {"raises", "probabilities"} <= {f.code for f in found(model, (X, HONEST))}
    target = brinell.target(model)
    x = answered(target, Dataset.of(X, HONEST))
    assert (x[:, 0] <= 0.99).all()
    assert all(t > 0 for t in seconds_per_row(target, x))


def test_scores_that_are_never_finite_are_severe():
    findings = found(Of(lambda s, x: s * torch.nan), (X, HONEST))
    assert ("non-finite", "severe") in {(f.code, f.severity) for f in findings}


def test_labels_only_are_checked_as_far_as_they_go():
    tree = DecisionTreeClassifier(random_state=0).fit(X.numpy(), HONEST.numpy())
    target = brinell.target(tree).restrict(Access.LABELS)
    assert check(target, Dataset.of(X, HONEST)) == []
    labels, gradients = seconds_per_row(target, X)
    assert labels > 0
    assert gradients != gradients  # NaN: they are not seen


def test_severe_findings_come_first():
    order = [f.severity for f in found(network().train(), (2 * X, (HONEST + 1) % 3))]
    assert order == sorted(order, key=("severe", "warning", "note").index)


def test_a_severe_finding_stops_unless_it_is_accepted():
    findings = found(Of(lambda s, x: s.softmax(1)), (X, HONEST))
    with pytest.raises(
        Inconclusive, match=r"probabilities: .* return the values before the softmax, or go on with --accept"
    ):
        accept(findings, set())
    marked = accept(findings, {"probabilities"})
    assert {f.code: f.accepted for f in marked}["probabilities"]


@pytest.mark.parametrize("code", ["outside-box", "classes"])
def test_what_no_audit_can_go_on_with_cannot_be_accepted(code):
    model, data, _ = PLANTED[code]
    with pytest.raises(UsageError, match=code) as caught:
        accept(found(model, data), {code})
    assert "--accept" not in str(caught.value)
