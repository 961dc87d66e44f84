"""Smooth functions lie between their lines, on intervals of any size, and the lines touch them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brinell.proofs.network.operators import (
    ELU,
    GELU,
    Band,
    Curve,
    Erf,
    Exp,
    HardSwish,
    Log,
    Mish,
    Power,
    RealPower,
    Reciprocal,
    Rsqrt,
    Sigmoid,
    SiLU,
    Softplus,
    Sqrt,
    Tanh,
    TanhGELU,
    Windows,
)

CURVES: dict[str, Curve] = {
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "erf": Erf(),
    "softplus": Softplus(),
    "elu": ELU(),
    "small-elu": ELU(0.3),
    "selu": ELU(1.6732632423543772),
    "silu": SiLU(),
    "gelu": GELU(),
    "tanh-gelu": TanhGELU(),
    "mish": Mish(),
    "hard-swish": HardSwish(),
    "exp": Exp(),
    "square": Power(2),
    "cube": Power(3),
    "fourth": Power(4),
    "reciprocal": Reciprocal(),
    "log": Log(),
    "sqrt": Sqrt(),
    "rsqrt": Rsqrt(),
    "sesqui": RealPower(1.5),
    "cube-root": RealPower(1 / 3),
    "inverse-sesqui": RealPower(-1.5),
}
POSITIVE = {"log", "sqrt", "rsqrt", "sesqui", "cube-root", "inverse-sesqui"}
NAMED = pytest.mark.parametrize("name", CURVES)
SCALES = st.sampled_from([1e-300, 1e-12, 1e-3, 0.1, 1.0, 3.0, 10.0, 50.0, 1e3, 1e6, 1e150])
CHOICES = st.sampled_from(["adaptive", "same", "free"])
EPS = torch.finfo(torch.float64).eps


def intervals(name: str, seed: int, centre: float, width: float) -> tuple[Tensor, Tensor]:
    """Twelve, a third of them points, within the domain; most with a knot or a pole well inside if the scales allow."""
    rng = torch.Generator().manual_seed(seed)
    middle, half = (
        centre * torch.randn(2, 6, generator=rng).double(),
        width * torch.rand(2, 6, generator=rng).double(),
    )
    half[:, :2] = 0
    low, high = middle - half, middle + half
    if name in POSITIVE:
        low = low.abs().clamp(min=1e-290)
        high = torch.maximum(low, high.abs())
    return low, high


def band(curve: Curve, low: Tensor, high: Tensor, how: str, seed: int) -> Band:
    if how == "free":
        choices = torch.rand(2, 3, 2, 6, generator=torch.Generator().manual_seed(seed), dtype=low.dtype)
        choices[:, 0], choices[:, 1] = 0, 1
    else:
        choices = curve.choices(low, high, how).unsqueeze(1)
    return curve.relax(low, high, choices)


def points(low: Tensor, high: Tensor, seed: int) -> Tensor:
    """(points, batch, 1, values): both ends, and between."""
    share = torch.rand(40, 2, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    share[0], share[1] = 0, 1
    between = low + share * (high - low)
    return torch.minimum(torch.maximum(between, low), high).unsqueeze(2)


@pytest.mark.sweep(2)
@NAMED
@settings(max_examples=12)
@given(seed=st.integers(0, 9999), centre=SCALES, width=SCALES, how=CHOICES)
def test_no_value_is_outside_the_interval_or_between_line_and_function(name, seed, centre, width, how) -> None:
    curve = CURVES[name]
    low, high = intervals(name, seed, centre, width)
    x = points(low, high, seed)
    value = curve.forward(x)
    least, most = curve.interval((low, high))
    lines = band(curve, low, high, how, seed)
    for line, end, sign in (((lines.lower, lines.base), least, 1), ((lines.upper, lines.top), most, -1)):
        slope, constant = line
        at, end = slope * x + constant, end.unsqueeze(1)
        computed = 4 * EPS * ((slope * x).abs() + value.abs()) + 1e-299  # by this test itself
        unknown = end.isnan() | end.isinf()
        assert ((sign * (value - end) >= -computed) | unknown).all()
        assert ((sign * (value - at) >= -computed) | ~at.isfinite()).all()
        assert (constant == end).all() | slope.isfinite().all(), "flat where it is not known"


@NAMED
@pytest.mark.parametrize("how", ["adaptive", "same", "free"])
@pytest.mark.parametrize("seed", range(2))
def test_every_line_touches_the_function(name, how, seed) -> None:
    """No line of its slope is closer, whatever the choice."""
    curve = CURVES[name]
    low, high = intervals(name, seed, 1.5, 2.5)
    kept = (low < high) & ~((low <= 0) & (high >= 0) & (name == "reciprocal"))
    if name in POSITIVE | {"reciprocal"}:
        kept &= torch.minimum(low.abs(), high.abs()) > 0.05
    lines = band(curve, low, high, how, seed)
    x = (low + torch.linspace(0, 1, 4001, dtype=torch.float64).reshape(-1, 1, 1) * (high - low)).unsqueeze(2)
    value = curve.forward(x)
    gaps = value - (lines.lower * x + lines.base), lines.upper * x + lines.top - value
    for gap in gaps:
        scale = (gap.amax(0) + value.abs().amax(0)).clamp(min=1e-3)
        touching = gap.amin(0) <= 2e-5 * scale
        assert (touching | ~kept.unsqueeze(1)).all()
        assert kept.any()


@NAMED
@settings(max_examples=5)
@given(seed=st.integers(0, 9999), centre=SCALES, width=SCALES, how=CHOICES)
def test_lines_in_float32_hold_as_well(name, seed, centre, width, how) -> None:
    curve = CURVES[name]
    low, high = (end.clamp(-1e30, 1e30).float() for end in intervals(name, seed, centre, width))
    low, high = torch.minimum(low, high), torch.maximum(low, high)
    if name in POSITIVE:
        low, high = low.clamp(min=1e-30), high.clamp(min=1e-30)
    lines = band(curve, low, high, how, seed)
    assert lines.lower.dtype is lines.top.dtype is torch.float32
    x = points(low.double(), high.double(), seed)
    value = curve.forward(x)
    below, above = (a.double() * x + b.double() for a, b in ((lines.lower, lines.base), (lines.upper, lines.top)))
    computed = 4 * EPS * ((lines.lower.double() * x).abs() + (lines.upper.double() * x).abs() + value.abs()) + 1e-299
    assert ((below <= value + computed) | ~below.isfinite()).all()
    assert ((above >= value - computed) | ~above.isfinite()).all()


def test_a_reciprocal_across_zero_is_not_known() -> None:
    for low, high in ((-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0), (0.0, 0.0)):
        ends = torch.tensor([[low]]).double(), torch.tensor([[high]]).double()
        least, most = Reciprocal().interval(ends)
        assert (least == -math.inf).all()
        assert (most == math.inf).all()
        lines = Reciprocal().relax(*ends, Reciprocal().choices(*ends, "adaptive").unsqueeze(1))
        assert (lines.base == -math.inf).all()
        assert (lines.top == math.inf).all()


@pytest.mark.parametrize("name", sorted(POSITIVE))
def test_what_is_no_number_is_no_bound(name) -> None:
    low, high = torch.tensor([[-1.0, math.nan]]).double(), torch.tensor([[1.0, 1.0]]).double()
    least, most = CURVES[name].interval((low, high))
    assert not (least <= most).any()


def test_least_area_by_hand() -> None:
    """Of exp on [0, 1]: below, the tangent at 1/2; above, the chord."""
    low, high = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    lines = Exp().relax(low, high, Exp().choices(low, high, "adaptive").unsqueeze(1))
    root = math.exp(0.5)
    for found, expected in ((lines.lower, root), (lines.base, root / 2), (lines.upper, math.e - 1), (lines.top, 1.0)):
        assert abs(float(found) - expected) <= 1e-12
    same = Exp().relax(low, high, Exp().choices(low, high, "same").unsqueeze(1))
    assert abs(float(same.lower) - (math.e - 1)) <= 1e-6, "parallel to the chord"


def test_a_sigmoid_across_zero_is_bounded_by_the_tangents_through_the_far_ends() -> None:
    """On [-1, 3] the line below touches at t < 0 with s(t) + s'(t) (3 - t) = s(3), or is the chord."""
    low, high = torch.tensor([[-1.0, -4.0]]).double(), torch.tensor([[3.0, 1.0]]).double()
    lines = Sigmoid().relax(low, high, torch.ones(1, 1, 2, 2).double())
    at_high = (lines.lower * high + lines.base).squeeze()
    torch.testing.assert_close(at_high, high.sigmoid().squeeze(), rtol=0, atol=1e-6)
    lines = Sigmoid().relax(low, high, torch.zeros(1, 1, 2, 2).double())
    at_low = (lines.upper * low + lines.top).squeeze()
    torch.testing.assert_close(at_low, low.sigmoid().squeeze(), rtol=0, atol=1e-6)


@NAMED
def test_the_profile_is_that_of_the_function(name) -> None:
    """The derivative is the slope; it rises where the function is said to be convex, and is zero at a turn."""
    curve, step = CURVES[name], 1e-5
    x = torch.linspace(0.05 if name in POSITIVE else -4, 4, 400, dtype=torch.float64)
    kinks = torch.tensor({ELU: [0.0], Reciprocal: [0.0], HardSwish: [-3.0, 3.0]}.get(type(curve), []))
    x = x[(x.unsqueeze(1) - kinks).abs().amin(1) > 2e-2] if len(kinks) else x
    slope = (curve.forward(x + step) - curve.forward(x - step)) / (2 * step)
    torch.testing.assert_close(curve.derivative(x), slope, rtol=1e-6, atol=1e-7)
    rising = curve.derivative(x + step) - curve.derivative(x - step)
    for above, sign in ((False, 1), (True, -1)):
        for start, end in curve.profile.convex_intervals(above):
            assert (sign * rising[(x - step > start) & (x + step < end)] >= -1e-12).all()
    for turn in curve.profile.turns:
        assert abs(float(curve.derivative(torch.tensor(turn, dtype=torch.float64)))) <= 1e-12


@given(seed=st.integers(0, 99))
def test_bands_are_carried_back_alike_as_windows(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    low = torch.randn(2, 3, 5, 6, generator=rng, dtype=torch.float64)
    high = low + torch.rand(2, 3, 5, 6, generator=rng, dtype=torch.float64)
    lines = Tanh().relax(low, high, Tanh().choices(low, high, "adaptive").unsqueeze(1))
    values = torch.randn(2, 4, 2, 3, 2, 2, generator=rng, dtype=torch.float64)
    a = Windows(values, torch.tensor([[0, 0], [2, 3], [-1, 4], [4, -1]]), (5, 6)).clipped()
    (part,), constant = lines.backward_windows(a)
    (whole,), offset = lines.backward(a.dense())
    torch.testing.assert_close(part.dense(), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(constant, offset, rtol=0, atol=1e-12)
