"""Substitutes taught by labels alone."""

import copy

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import brinell
from brinell.errors import UsageError
from brinell.evasion import FGSM, Noise, attack
from brinell.evasion.transfer import Substitute, Transfer, convolutional, dense, logistic
from brinell.targets import Target
from brinell.threat import Access, Linf, Threat
from models import Affine, affine, generator, target


def seeds(n: int = 20, features: int = 6) -> torch.Tensor:
    return torch.rand(n, features, generator=generator(2))


@pytest.mark.parametrize(
    ("reservoir", "after", "asked"), [(None, 3, 20 * 2**4), (15, 2, 20 * 2**2 + 2 * 15), (1000, 0, 20 * 2**4)]
)
def test_queries_are_counted_and_a_reservoir_bounds_them(reservoir, after, asked) -> None:
    oracle = target(affine(6, 3))
    taught = Substitute(rounds=4, epochs=1, reservoir=reservoir, after=after).learn(oracle, seeds(), logistic((6,), 3))
    assert taught.queries == asked == len(taught.x) == len(taught.y)
    assert torch.equal(taught.y, oracle.labels(taught.x))
    assert torch.equal(taught.x[:20], seeds())
    assert oracle.box.contains(taught.x).all()


def test_new_points_lie_one_step_along_the_sign_of_the_labels_slope() -> None:
    # A student that learns nothing (rate next to 0) keeps its weights, so the slope of log softmax is known.
    weight = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, -1.0], [-1.0, 0.5, 2.0]])
    student, x = Affine(weight), 0.5 + 0.1 * torch.rand(8, 3, generator=generator())
    oracle = target(affine(3, 3))
    y = oracle.labels(x)
    taught = Substitute(rounds=3, step=0.1, turn=1, epochs=1, rate=1e-12).learn(oracle, x, student)
    p = (x @ weight.T).softmax(1)
    slope = weight[y] - p @ weight
    assert torch.allclose(taught.x[8:16], x + 0.1 * slope.sign(), atol=1e-6)  # round 0
    later = taught.x[:16]
    slope = weight[oracle.labels(later)] - (later @ weight.T).softmax(1) @ weight
    assert torch.allclose(taught.x[16:32], later - 0.1 * slope.sign(), atol=1e-6)  # round 1: the sign has turned
    straight = Substitute(rounds=2, step=0.1, turn=None, epochs=1, rate=1e-12).learn(oracle, x, student)
    assert torch.allclose(straight.x[16:32], later + 0.1 * slope.sign(), atol=1e-6)


def test_a_linear_oracle_is_learnt_and_its_substitute_fools_it() -> None:
    oracle = target(affine(6, 3), access=Access.LABELS)
    taught = Substitute(rounds=5, epochs=60, rate=0.05).learn(oracle, seeds(), logistic((6,), 3))
    x = torch.rand(500, 6, generator=generator(9))
    y = oracle.labels(x)
    assert (taught.target.labels(x) == y).float().mean() > 0.9
    found = attack(Transfer(taught.target, FGSM()), oracle, x, y, Threat(Linf(0.15)))
    best = attack(FGSM(), target(affine(6, 3)), x, y, Threat(Linf(0.15)))
    assert found.queries.max() == 2
    assert found.broken.sum() >= 0.9 * best.broken.sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_depth=6, random_state=0),
        KNeighborsClassifier(3),
        GradientBoostingClassifier(random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_models_without_gradients_teach_as_well(estimator) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((400, 6)).astype(np.float32)
    oracle = brinell.target(estimator.fit(x, (x @ np.arange(6) > 7.5).astype(int))).restrict(Access.LABELS)
    taught = Substitute(rounds=5, epochs=30).learn(oracle, seeds(40), seed=1)
    fresh = torch.rand(300, 6, generator=generator(5))
    y = oracle.labels(fresh)
    found = attack(Transfer(taught.target, FGSM()), oracle, fresh, y, Threat(Linf(0.2)))
    noise = attack(Noise(draws=1), oracle, fresh, y, Threat(Linf(0.2)))
    assert found.broken.sum() > 1.5 * noise.broken.sum()


def test_nothing_is_changed_behind_the_caller() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    network = dense((6,), 3, generator())
    weights = copy.deepcopy(network.state_dict())
    oracle = target(affine(6, 3))
    taught = Substitute(rounds=2).learn(oracle, seeds(), network)
    Substitute(rounds=1, epochs=1).learn(oracle, seeds().reshape(-1, 1, 1, 6))
    Substitute(rounds=1, epochs=1).learn(target(affine(64, 3)), torch.rand(5, 1, 8, 8, generator=generator()))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
    assert not torch.equal(taught.target.module()[1].weight, network[1].weight)
    assert oracle.meter.forwards == 0


def test_the_seed_decides_everything() -> None:
    oracle = target(affine(6, 3))
    one, two, other = (
        Substitute(rounds=3, reservoir=10, after=0).learn(oracle, seeds(), classes=3, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.target.scores(one.x), two.target.scores(one.x))
    assert not torch.equal(one.x, other.x)


def test_architectures_have_the_shape_they_are_asked_for() -> None:
    for network, shape in (
        (logistic((2, 3), 4), (2, 3)),
        (dense((5,), 4, generator()), (5,)),
        (convolutional((3, 9, 6), 4, generator()), (3, 9, 6)),
    ):
        assert network(torch.rand(2, *shape, generator=generator())).shape == (2, 4)
    with pytest.raises(UsageError, match="needs \\(channels, height, width\\)"):
        convolutional((3, 2, 6), 4, generator())


def test_a_double_oracle_has_a_double_substitute() -> None:
    oracle = target(affine(6, 3, dtype=torch.float64))
    taught = Substitute(rounds=1, epochs=1).learn(oracle, seeds().double(), classes=3)
    assert taught.x.dtype == torch.float64
    assert taught.target.scores(taught.x).dtype == torch.float64


def test_what_cannot_be_right_is_refused() -> None:
    oracle: Target = target(affine(6, 3))
    with pytest.raises(UsageError, match="the oracle said class 2; the substitute has 2"):
        Substitute().learn(oracle, seeds(), logistic((6,), 2))
    for settings, says in (
        ({"rounds": -1}, "rounds is -1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"turn": 0}, "turn is 0"),
        ({"reservoir": -3}, "reservoir is -3"),
        ({"step": 0.0}, "step is 0.0"),
    ):
        with pytest.raises(UsageError, match=says):
            Substitute(**settings)
