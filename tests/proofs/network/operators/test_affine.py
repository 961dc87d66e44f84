"""Every affine operator: its transpose is autograd's, its interval is sound, its windows are its transpose."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brinell.proofs.network.operators import (
    Affine,
    Concatenate,
    Convolution,
    Expand,
    Linear,
    Local,
    Pad,
    Permute,
    Pick,
    Reshape,
    Scale,
    Total,
    TransposedConvolution,
    Windows,
    average,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CASES: dict[str, tuple[Affine, list[tuple[int, ...]]]] = {
    "linear": (Linear(draw(3, 5), draw(3)), [(5,)]),
    "linear on the last axis": (Linear(draw(3, 5), draw(3)), [(2, 5)]),
    "scale": (Scale(draw(4, 1, 1), draw(4, 1, 1)), [(4, 3, 3)]),
    "total": (Total((1.0, -2.0)), [(2, 3, 3), (2, 3, 3)]),
    "reshape": (Reshape((2, 6), (3, 4)), [(2, 6)]),
    "permute": (Permute((2, 0, 1)), [(2, 3, 4)]),
    "pick": (Pick(1, 1, 2, 3, 7), [(2, 7, 3)]),
    "pad": (Pad(((1, 2), (0, 3), (2, 0))), [(2, 3, 4)]),
    "concatenate": (Concatenate(0, (2, 3)), [(2, 4), (3, 4)]),
    "expand": (Expand((2, 1, 3), (2, 4, 3)), [(2, 1, 3)]),
    "expand to the same": (Expand((2, 3), (2, 3)), [(2, 3)]),
    "transposed": (
        TransposedConvolution(draw(4, 3, 3, 2), draw(6), (2, 3), (1, 0), (1, 2), 2, (1, 2)),
        [(4, 3, 4)],
    ),
    "average": (average(2, (7, 7), (3, 2), (2, 2), (1, 0), 6), [(2, 7, 7)]),
}
NAMED = pytest.mark.parametrize(("operator", "shapes"), CASES.values(), ids=CASES.keys())


def transpose(operator: Affine, shapes: list[tuple[int, ...]], a: Tensor) -> list[Tensor]:
    """The rows of `a`, one example each, carried back by autograd."""
    batch, rows = a.shape[:2]
    inputs = [torch.zeros(batch * rows, *shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    output = operator.forward(*inputs)
    return [g.reshape(batch, rows, *g.shape[1:]) for g in torch.autograd.grad(output, inputs, a.flatten(0, 1))]


def check(operator: Affine, shapes: list[tuple[int, ...]]) -> None:
    zeros = operator.forward(*(torch.zeros(1, *shape, dtype=torch.float64) for shape in shapes))
    a = draw(2, 3, *zeros.shape[1:], seed=1)
    parts, constant = operator.backward(a)
    for part, expected in zip(parts, transpose(operator, shapes, a), strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(constant, (a * zeros).flatten(2).sum(2), rtol=0, atol=1e-12)


@NAMED
def test_backward_is_the_transpose(operator: Affine, shapes: list[tuple[int, ...]]) -> None:
    check(operator, shapes)


@NAMED
def test_intervals_hold_every_value_between(operator: Affine, shapes: list[tuple[int, ...]]) -> None:
    lows = [draw(2, *shape, seed=i) for i, shape in enumerate(shapes)]
    widths = [draw(2, *shape, seed=9 + i).abs() for i, shape in enumerate(shapes)]
    low, high = operator.interval(*((start, start + width) for start, width in zip(lows, widths, strict=True)))
    for seed in range(30):
        share = [draw(2, *shape, seed=seed).sigmoid().round(decimals=seed % 2) for shape in shapes]
        x = operator.forward(*(start + part * width for start, part, width in zip(lows, share, widths, strict=True)))
        assert ((low <= x + 1e-12) & (x <= high + 1e-12)).all()


@NAMED
def test_the_spread_is_made_of_the_absolute_values_of_the_linear_part(operator: Affine, shapes: list) -> None:
    zeros = [torch.zeros(1, *shape, dtype=torch.float64) for shape in shapes]
    still, sizes = operator.forward(*zeros), [draw(1, *shape, seed=i).abs() for i, shape in enumerate(shapes)]
    columns = torch.zeros_like(still)
    for part, size in enumerate(sizes):
        for place in range(size.numel()):
            alone = [torch.zeros_like(x) for x in zeros]
            alone[part].view(-1)[place] = size.view(-1)[place]
            columns += (operator.forward(*alone) - still).abs()
    torch.testing.assert_close(operator.abs_forward(*sizes), columns, rtol=0, atol=1e-12)


def test_a_convolution_that_weighs_each_channel_alone_is_a_factor() -> None:
    weight, bias, x = draw(3, 1, 1, 1), draw(3, seed=1), draw(2, 3, 5, 4, seed=2)
    simple = Convolution(weight, bias, (5, 4), groups=3).simplest
    assert isinstance(simple, Scale)
    torch.testing.assert_close(simple.forward(x), Convolution(weight, bias, (5, 4), groups=3).forward(x))
    for how in ({"stride": (2, 1)}, {"padding": (0, 1)}):
        other = Convolution(weight, bias, (5, 4), groups=3, **how)
        assert other.simplest is other
    mixing = Convolution(draw(3, 3, 1, 1), bias, (5, 4))
    assert mixing.simplest is mixing


@NAMED
def test_forms_are_carried_forward_as_values_are(operator: Affine, shapes: list[tuple[int, ...]]) -> None:
    """A form that is the same below and above stays so, and <a, its rows> is <a carried back, the inputs' rows>."""
    rows = [draw(2, 3, *shape, seed=i) for i, shape in enumerate(shapes)]
    low, high = operator.forward_bounds(*((part, part) for part in rows), offset=False)
    torch.testing.assert_close(low, high, rtol=0, atol=1e-12)
    torch.testing.assert_close(low, operator.linear(*rows), rtol=0, atol=1e-12)
    a = draw(2, 3, *low.shape[2:], seed=7)
    parts, _ = operator.backward(a)
    back = torch.stack([(part * row).flatten(2).sum(2) for part, row in zip(parts, rows, strict=True)]).sum(0)
    torch.testing.assert_close((a * low).flatten(2).sum(2), back, rtol=0, atol=1e-11)
    constants = operator.forward_bounds(*((part, part) for part in rows), offset=True)[0].flatten(0, 1)
    torch.testing.assert_close(constants, operator.forward(*(part.flatten(0, 1) for part in rows)), rtol=0, atol=1e-12)


@st.composite
def convolutions(draw_: st.DrawFn) -> Convolution:
    kernel = (draw_(st.integers(1, 3)), draw_(st.integers(1, 3)))
    dilation = (draw_(st.integers(1, 2)), draw_(st.integers(1, 2)))
    reach = [dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    padding = (draw_(st.integers(0, 2)), draw_(st.integers(0, 2)))
    size = tuple(draw_(st.integers(max(1, reach[i] - 2 * padding[i]), 9)) for i in (0, 1))
    groups = draw_(st.sampled_from([1, 2]))
    stride = (draw_(st.integers(1, 3)), draw_(st.integers(1, 3)))
    weight, bias = draw(4, 2 // groups, *kernel, seed=2), draw(4, seed=3)
    return Convolution(weight, bias, size, stride, padding, dilation, groups)


@given(convolutions())
def test_the_transpose_of_any_convolution(operator: Convolution) -> None:
    check(operator, [(2, *operator.size)])


LOCAL: dict[str, tuple[Affine, tuple[int, int, int]]] = {
    "scale": (Scale(draw(4, 1, 1), draw(4, 6, 6)), (4, 6, 6)),
    "total": (Total((1.0, -2.0)), (4, 6, 6)),
}


def windows(shape: tuple[int, ...], height: int, width: int, seed: int) -> Windows:
    """Windows of random values, some overhanging."""
    rng = torch.Generator().manual_seed(seed)
    limits = [size + 2 for size in shape[1:]]
    corner = torch.stack([torch.randint(-1, limit - 2, (5,), generator=rng) for limit in limits], 1)
    size = (shape[1], shape[2])
    return Windows(draw(2, 5, 3, shape[0], height, width, seed=seed), corner, size).clipped()


def check_windows(operator: Affine, shape: tuple[int, ...], inputs: int, seed: int) -> None:
    assert isinstance(operator, Local)
    a = windows(shape, 2, 3, seed)
    parts, constant = operator.backward_windows(a)
    expected, offset = operator.backward(a.dense())
    assert len(parts) == inputs
    for part, whole in zip(parts, expected, strict=True):
        torch.testing.assert_close(part.dense(), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(constant, offset, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("operator", "shape"), LOCAL.values(), ids=LOCAL.keys())
def test_windows_are_carried_back_as_what_they_stand_for(operator: Affine, shape: tuple[int, int, int]) -> None:
    check_windows(operator, shape, 2 if isinstance(operator, Total) else 1, 0)


@given(convolutions(), st.integers(0, 99))
def test_windows_are_carried_back_through_any_convolution(operator: Convolution, seed: int) -> None:
    shape = operator.forward(torch.zeros(1, 2, *operator.size, dtype=torch.float64)).shape[1:]
    check_windows(operator, tuple(shape), 1, seed)


@settings(max_examples=40)
@given(st.integers(0, 99), st.integers(-2, 2), st.integers(-2, 2), st.booleans())
def test_windows_add_up(seed: int, down: int, right: int, alike: bool) -> None:
    a = windows((3, 6, 7), 2, 3, seed)
    corner = a.corner + torch.tensor([down, right]) if alike else a.corner.flip(1)
    b = Windows(draw(2, 5, 3, 3, 4, 2, seed=seed), corner, a.size).clipped()
    total = a.plus(b)
    assert isinstance(total, Windows) or not alike
    written = total.dense() if isinstance(total, Windows) else total
    torch.testing.assert_close(written, a.dense() + b.dense(), rtol=0, atol=1e-12)


def test_what_windows_show_of_an_image_is_what_they_stand_for() -> None:
    a = windows((3, 6, 7), 2, 3, 1)
    for image in (draw(2, 1, 3, 6, 7), draw(1, 1, 3, 6, 7)):
        expected = (a.dense() * image).flatten(2).sum(2)
        torch.testing.assert_close(a.on(image), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(
            (a.values * a.seen(image)).flatten(3).sum(3).flatten(1), expected, rtol=0, atol=1e-12
        )
