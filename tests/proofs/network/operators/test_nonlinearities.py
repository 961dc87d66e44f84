"""Nonlinearities lie above their linear lower bounds, in every direction, and between the forms that are carried
forward."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from brinell.proofs.network.operators import MaxPool, Nonlinearity, Product, ReLU, Tanh, Windows
from brinell.proofs.network.operators.relu import Wedge


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check(operator: Nonlinearity, shape: tuple[int, ...], seed: int, choice: str) -> None:
    low = draw(2, *shape, seed=seed)
    high = low + 2 * draw(2, *shape, seed=seed + 1).abs() * (draw(2, *shape, seed=seed + 2) > -1)
    if choice == "free":
        choices = draw(2, 3, *operator.choices(low, high, "same").shape[1:], seed=seed).sigmoid()
    else:
        choices = operator.choices(low, high, choice).unsqueeze(1)
    a = draw(2, 3, *operator.forward(low).shape[1:], seed=seed + 3)
    relaxation = operator.relax(low, high, choices)
    (back,), constant = relaxation.backward(a)
    # Forms of e in [-1, 1]: the input is centre + <slope, e>, known up to (1 + e_0) / 20.
    forms, centre, slope = (
        operator.relax(low, high, choices[:, :1]),
        (low + high) / 2,
        draw(2, 4, *shape, seed=seed + 4),
    )
    slope = slope / slope.abs().sum(1, keepdim=True) * ((high - low) / 2).unsqueeze(1)
    unsure = torch.tensor([0.05, 0, 0, 0], dtype=torch.float64).reshape(4, *(1,) * len(shape))
    below, above = forms.forward_bounds((slope - unsure, slope + unsure), offset=False)
    base, top = forms.forward_bounds(((centre - 0.05).unsqueeze(1), (centre + 0.05).unsqueeze(1)), offset=True)
    for point in range(20):
        share = draw(2, *shape, seed=point).sigmoid() if point % 2 else (draw(2, *shape, seed=point) > 0).double()
        x = low + share * (high - low)
        value = (a * operator.forward(x).unsqueeze(1)).flatten(2).sum(2)
        assert (value >= (back * x.unsqueeze(1)).flatten(2).sum(2) + constant - 1e-9).all()
        e = 2 * draw(4, seed=point).sigmoid() - 1 if point % 2 else draw(4, seed=point).sign()
        value = operator.forward(centre + torch.einsum("bk...,k->b...", slope, e))
        assert (base.squeeze(1) + torch.einsum("bk...,k->b...", below, e) <= value + 1e-9).all()
        assert (value <= top.squeeze(1) + torch.einsum("bk...,k->b...", above, e) + 1e-9).all()


@given(st.integers(0, 999), st.sampled_from(["adaptive", "same", "free"]))
def test_relu_is_bounded(seed: int, choice: str) -> None:
    check(ReLU(), (3, 4), seed, choice)


@given(st.integers(0, 999), st.sampled_from(["adaptive", "same", "free"]))
def test_a_smooth_function_is_bounded(seed: int, choice: str) -> None:
    check(Tanh(), (3, 4), seed, choice)


@given(st.integers(0, 999), st.sampled_from(["adaptive", "same", "free"]))
def test_a_product_is_bounded(seed: int, choice: str) -> None:
    check(Product(), (2, 3, 2), seed, choice)


@given(st.integers(0, 999), st.sampled_from([(2, 2, 0, 1), (3, 1, 0, 1), (3, 2, 1, 1), (2, 1, 0, 2), (2, 2, 1, 1)]))
def test_max_pooling_is_bounded_with_windows_that_overlap(seed: int, how: tuple[int, int, int, int]) -> None:
    kernel, stride, padding, dilation = ((n, n) for n in how)
    check(MaxPool(kernel, stride, padding, dilation), (2, 5, 6), seed, "adaptive")


def test_overlapping_windows_all_feel_one_pixel() -> None:
    """A pixel in nine windows moves the sum of them ninefold: a bound that forgets it would be 1, not 9."""
    pool = MaxPool((3, 3), (1, 1))
    low = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    high = low.clone()
    high[0, 0, 2, 2] = 1.0
    (_, constant) = pool.relax(low, high, pool.choices(low, high, "adaptive").unsqueeze(1)).backward(
        -torch.ones(1, 1, 1, 3, 3, dtype=torch.float64)
    )
    (back,), _ = pool.relax(low, high, pool.choices(low, high, "adaptive").unsqueeze(1)).backward(
        -torch.ones(1, 1, 1, 3, 3, dtype=torch.float64)
    )
    worst = (back.clamp(max=0) * high.unsqueeze(1)).sum() + constant.sum()
    assert worst == -9


def test_stable_neurons_are_exact() -> None:
    low, high = torch.tensor([[1.0, -3.0, 0.0, -2.0]]).double(), torch.tensor([[2.0, -1.0, 1.0, 0.0]]).double()
    wedge = ReLU().relax(low, high, torch.full((1, 1, 4), 0.3).double())
    assert wedge.lower.tolist() == wedge.upper.tolist() == [[[1.0, 0.0, 1.0, 0.0]]]
    assert not wedge.intercept.any()


def test_a_wedge_seen_through_windows() -> None:
    low, high = draw(2, 3, 5, 6, seed=0), draw(2, 3, 5, 6, seed=0) + draw(2, 3, 5, 6, seed=1).abs()
    wedge = ReLU().relax(low, high, ReLU().choices(low, high, "adaptive").unsqueeze(1))
    assert isinstance(wedge, Wedge)
    corner = torch.tensor([[0, 0], [2, 3], [-1, 4], [4, -1]])
    a = Windows(draw(2, 4, 2, 3, 2, 2, seed=5), corner, (5, 6)).clipped()
    (part,), constant = wedge.backward_windows(a)
    (whole,), offset = wedge.backward(a.dense())
    torch.testing.assert_close(part.dense(), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(constant, offset, rtol=0, atol=1e-12)
