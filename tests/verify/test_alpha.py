"""Slopes that climb."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.errors import UsageError
from brinell.threat import Linf
from brinell.verify import CROWN, AlphaCROWN, Climb, margins
from brinell.verify.problem import Problem
from brinell.verify.relaxation import linear_model
from brinell.verify.verifier import nothing
from verify.networks import UNIT, examples, perceptron, residual, sets


@settings(max_examples=20)
@given(seed=st.integers(0, 999), set=sets(), image=st.booleans())
def test_it_is_never_worse_than_crown(seed: int, set, image: bool) -> None:
    net = residual(seed) if image else perceptron((4, 8, 8, 3), seed)
    x0, spec = examples(net, 3, seed), margins(torch.tensor([0, 1, 2]), 3)
    assert (AlphaCROWN(climb=Climb(steps=3))(net, x0, set, spec) >= CROWN()(net, x0, set, spec)).all()


def test_more_steps_are_never_worse_and_soon_better() -> None:
    net = perceptron((6, 20, 20, 3), 1)
    x0, spec = examples(net, 8, 0), margins(torch.arange(8) % 3, 3)
    bounds = [AlphaCROWN(climb=Climb(steps=steps))(net, x0, Linf(0.2, UNIT), spec) for steps in (0, 5, 20)]
    torch.testing.assert_close(bounds[0], CROWN()(net, x0, Linf(0.2, UNIT), spec), rtol=0, atol=1e-12)
    assert (bounds[0] <= bounds[1]).all()
    assert (bounds[1] <= bounds[2]).all()
    assert bounds[2].mean() > bounds[0].mean() + 0.05


def test_nothing_is_left_for_the_gradient_of_others() -> None:
    net = perceptron((4, 8, 3), 0)
    x0 = examples(net, 2, 0)
    bounds = AlphaCROWN()(net, x0, Linf(0.3, UNIT), margins(torch.tensor([0, 1]), 3))
    assert not bounds.requires_grad
    assert not any(
        t.requires_grad for node in net.nodes[1:] for t in vars(node.operator).values() if torch.is_tensor(t)
    )


@settings(max_examples=20)
@given(seed=st.integers(0, 999), set=sets(), image=st.booleans(), promise=st.floats(0, 0.5))
def test_giving_up_on_little_promise_loses_bounds_and_never_invents_one(seed: int, set, image, promise) -> None:
    net = residual(seed) if image else perceptron((4, 8, 8, 3), seed)
    x0, spec = examples(net, 3, seed), margins(torch.tensor([0, 1, 2]), 3)
    whole = AlphaCROWN(climb=Climb(steps=3))(net, x0, set, spec)
    kept = AlphaCROWN(climb=Climb(steps=3), promise=promise)(net, x0, set, spec)
    cheap = CROWN(intermediate="interval")(net, x0, set, spec)
    assert (kept >= cheap).all()
    assert (kept <= torch.maximum(whole, cheap) + 1e-9).all()


def test_what_is_plainly_robust_is_proved_with_or_without_promise() -> None:
    net = perceptron((6, 20, 20, 3), 1)
    x0 = examples(net, 40, 0)
    clean = net(x0)
    spec = margins(clean.argmax(1), 3)
    for radius in (0.001, 0.01, 0.03):
        whole, kept = (
            (AlphaCROWN(promise=promise)(net, x0, Linf(radius, UNIT), spec) > 0).all(1) for promise in (None, 0.05)
        )
        assert kept.sum() >= 0.9 * whole.sum() > 0


def test_without_a_bend_the_linear_model_is_the_network() -> None:
    net = perceptron((4, 3), 0)
    x0, set = examples(net, 5, 0), Linf(0.1, UNIT)
    spec = margins(torch.arange(5) % 3, 3)
    linear = linear_model(Problem(net, x0, set, spec, 2**24, nothing))
    torch.testing.assert_close(linear, CROWN()(net, x0, set, spec))


@pytest.mark.parametrize("promise", [-0.1, 1.1])
def test_a_promise_is_a_share(promise) -> None:
    with pytest.raises(UsageError, match="promise is"):
        AlphaCROWN(promise=promise)
