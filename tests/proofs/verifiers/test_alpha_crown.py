"""Optimised slopes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.errors import UsageError
from brinell.proofs import CROWN, AlphaCROWN, Optimisation, margins
from brinell.threat import Linf
from proofs.networks import UNIT, examples, perceptron, residual, sets


@settings(max_examples=20)
@given(seed=st.integers(0, 999), set=sets(), image=st.booleans())
def test_it_is_never_worse_than_crown(seed: int, set, image: bool) -> None:
    net = residual(seed) if image else perceptron((4, 8, 8, 3), seed)
    x0, spec = examples(net, 3, seed), margins(torch.tensor([0, 1, 2]), 3)
    assert (AlphaCROWN(optimisation=Optimisation(steps=3))(net, x0, set, spec) >= CROWN()(net, x0, set, spec)).all()


def test_more_steps_are_never_worse_and_soon_better() -> None:
    net = perceptron((6, 20, 20, 3), 1)
    x0, spec = examples(net, 8, 0), margins(torch.arange(8) % 3, 3)
    bounds = [
        AlphaCROWN(optimisation=Optimisation(steps=steps))(net, x0, Linf(0.2, UNIT), spec) for steps in (0, 5, 20)
    ]
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
@given(seed=st.integers(0, 999), set=sets(), image=st.booleans(), reach=st.floats(0, 2))
def test_what_is_out_of_reach_keeps_the_bound_of_crown(seed: int, set, image, reach) -> None:
    net = residual(seed) if image else perceptron((4, 8, 8, 4), seed)
    x0, spec = examples(net, 3, seed), margins(torch.tensor([0, 1, 2]), net.classes)
    whole = AlphaCROWN(optimisation=Optimisation(steps=3))(net, x0, set, spec)
    crown = CROWN()(net, x0, set, spec)
    kept = AlphaCROWN(optimisation=Optimisation(steps=3), reach=reach)(net, x0, set, spec)
    spread = (crown - crown.mean(1, keepdim=True)).abs().mean(1)
    optimised = crown.amin(1) >= -reach * spread
    torch.testing.assert_close(kept, torch.where(optimised.unsqueeze(1), whole, crown))


def test_two_classes_always_climb() -> None:
    net = perceptron((6, 20, 20, 2), 1)
    x0, spec = examples(net, 8, 0), margins(torch.arange(8) % 2, 2)
    found = [
        AlphaCROWN(optimisation=Optimisation(steps=5), reach=reach)(net, x0, Linf(0.2, UNIT), spec)
        for reach in (0.0, None)
    ]
    assert torch.equal(found[0], found[1])


def test_a_reach_is_not_negative() -> None:
    with pytest.raises(UsageError, match="reach is"):
        AlphaCROWN(reach=-0.1)


def test_optimised_intermediate_bounds_tighten_the_last_ones() -> None:
    net = perceptron((6, 20, 20, 3), 1)
    x0, spec = examples(net, 6, 0), margins(torch.arange(6) % 3, 3)
    left = AlphaCROWN(optimisation=Optimisation(steps=10))(net, x0, Linf(0.2, UNIT), spec)
    tightened = AlphaCROWN(optimisation=Optimisation(steps=10), intermediate=Optimisation(steps=10))(
        net, x0, Linf(0.2, UNIT), spec
    )
    open_ = left <= 0
    assert torch.equal(tightened[~open_], left[~open_])
    assert tightened[open_].mean() > left[open_].mean() + 0.02
