"""Drawing a point toward x0 until a share of its distance is left: what binary searches of the boundary rest on."""

import pytest
import torch

from brinell.threat import L1, L2, Linf
from models import UNIT, generator

each_set = pytest.mark.parametrize("made", [Linf, L2, L1], ids=lambda made: made.__name__)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def pairs(dtype):
    x0, x = torch.rand((2, 50, 3, 4), generator=generator(3), dtype=dtype)
    return x0, x


@each_set
@each_dtype
def test_the_distance_left_is_the_share(made, dtype) -> None:
    set, (x0, x) = made(float("inf")).within(UNIT), pairs(dtype)
    share = torch.rand(50, generator=generator(4), dtype=torch.float64)
    near = set.shrink(x0, x, share)
    torch.testing.assert_close(set.distance(x0, near), share * set.distance(x0, x), rtol=1e-5, atol=1e-7)
    assert near.dtype == dtype


@each_set
@each_dtype
def test_the_ends_are_the_points_themselves(made, dtype) -> None:
    set, (x0, x) = made(float("inf")).within(UNIT), pairs(dtype)
    assert torch.equal(set.shrink(x0, x, torch.ones(50, dtype=torch.float64)), x)
    assert torch.equal(set.shrink(x0, x, torch.zeros(50, dtype=torch.float64)), x0)


@each_set
def test_no_feature_turns_back_or_leaves_the_way(made) -> None:
    set, (x0, x) = made(float("inf")).within(UNIT), pairs(torch.float64)
    near = set.shrink(x0, x, torch.full((50,), 0.3, dtype=torch.float64))
    low, high = torch.minimum(x0, x), torch.maximum(x0, x)
    assert ((near >= low - 1e-15) & (near <= high + 1e-15)).all()


def test_in_linf_only_what_is_too_far_is_moved() -> None:
    x0 = torch.zeros(1, 3, dtype=torch.float64)
    x = torch.tensor([[0.1, -0.4, 0.8]], dtype=torch.float64)
    near = Linf(float("inf")).within(UNIT).shrink(x0, x, torch.tensor([0.5], dtype=torch.float64))
    torch.testing.assert_close(near, torch.tensor([[0.1, -0.4, 0.4]], dtype=torch.float64))
