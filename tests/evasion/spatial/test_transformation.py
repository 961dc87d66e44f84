import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import brinell
from brinell.errors import UsageError
from brinell.evasion import PGD, Noise, margin
from brinell.evasion.spatial.colour import HueSaturation, Recolour
from brinell.evasion.spatial.grid import Grid
from brinell.evasion.spatial.motion import Flow, RotateShift
from brinell.evasion.spatial.transformation import Custom, Transformed
from brinell.threat import Access, Threat
from models import generator, relu_net, target

FAMILIES = [RotateShift(), Flow(), HueSaturation(), Recolour()]
each = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: type(f).__name__)


def images(n=4, side=8, dtype=torch.float64):
    return torch.rand(n, 3, side, side, generator=generator(2), dtype=dtype)


@each
def test_no_parameters_are_no_change(family):
    x = images()
    assert family(x, torch.zeros(len(x), family.count((3, 8, 8)), dtype=x.dtype)).allclose(x, atol=1e-12)


@each
def test_gradients_by_the_parameters_are_those_of_differences(family):
    x, n = images(2), family.count((3, 8, 8))
    p = 0.6 * torch.rand(2, n, generator=generator(1), dtype=x.dtype) - 0.3
    assert torch.autograd.gradcheck(lambda p: family(x, p).sum((1, 2, 3)), p.requires_grad_(), atol=1e-5)


def test_a_quarter_turn_is_a_transpose_and_a_flip():
    x = images()
    turned = RotateShift(degrees=90)(x, torch.tensor([[1.0, 0, 0]] * 4, dtype=x.dtype))
    assert turned.allclose(x.rot90(1, (2, 3)), atol=1e-6) or turned.allclose(x.rot90(-1, (2, 3)), atol=1e-6)


def test_whole_pixels_are_shifted_exactly():
    x = images()
    shifted = RotateShift(pixels=2)(x, torch.tensor([[0.0, 1.0, -0.5]] * 4, dtype=x.dtype))
    expected = torch.zeros_like(x)
    expected[:, :, :-1, 2:] = x[:, :, 1:, :-2]
    assert shifted.allclose(expected, atol=1e-12)


def test_a_uniform_flow_is_a_shift():
    x = images()
    p = torch.zeros(4, 2, 7, 7, dtype=x.dtype)
    p[:, 0] = 1
    assert Flow(pixels=1)(x, p.flatten(1))[..., :-1].allclose(x[..., 1:], atol=1e-12)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_hue_and_saturation_leave_the_largest_channel(hue, saturation):
    x = images(1)
    y = HueSaturation()(x, torch.tensor([[hue, saturation]], dtype=x.dtype))
    assert y.amax(1).allclose(x.amax(1), atol=1e-12)
    assert y.amin() >= -1e-12


def test_a_third_of_the_circle_permutes_the_channels():
    x = images()
    y = HueSaturation(hue=1 / 3)(x, torch.tensor([[1.0, 0.0]] * 4, dtype=x.dtype))
    assert y.allclose(x[:, [2, 0, 1]], atol=1e-9)


def made(family):
    x = images(30, dtype=torch.float32)
    net = relu_net((3, 8, 8), seed=3)
    asked = target(net)
    return Transformed(asked, family, (3, 8, 8)), x, asked.labels(x)


@each
@pytest.mark.parametrize("attack", [PGD(steps=10, objective=margin), Noise(draws=20), Grid(2, most=20)])
def test_what_breaks_is_rendered_from_its_parameters_and_fools_the_inner_target(family, attack):
    changed, x, y = made(family)
    lifted = changed.lift(x)
    found = brinell.attack(attack, changed.target, lifted, y, Threat(changed.set(0.8)))
    assert torch.equal(found.x[:, : x[0].numel()], x.flatten(1))
    assert changed.parameters(found.x).abs().amax() <= 0.8
    for row in found.broken.nonzero().flatten().tolist():
        again = changed.render(found.x[row : row + 1])
        assert changed.inner.labels(again).item() != y[row].item()
        assert changed.inner.box.contains(again).all()


def test_a_candidate_whose_example_was_touched_is_refused():
    changed, x, _ = made(RotateShift())
    lifted = changed.lift(x)
    touched = lifted.clone()
    touched[:, 0] = 1 - touched[:, 0]
    assert not changed.set().within(changed.target.box).contains(lifted, touched).any()


def test_a_transformation_of_ones_own_is_searched_through_labels_alone():
    class Dim(nn.Module):
        def forward(self, x):
            mean = x.flatten(1).mean(1)
            return torch.stack([mean - 0.2, 0.2 - mean], 1)

    asked = target(Dim(), access=Access.LABELS)
    x = torch.full((3, 1, 4, 4), 0.5)
    dimmer = Transformed(asked, Custom(lambda x, p: x * (1 - p.reshape(-1, 1, 1, 1)), 1), (1, 4, 4))
    y = torch.zeros(3, dtype=torch.int64)
    assert not brinell.attack(Grid(11), dimmer.target, dimmer.lift(x), y, Threat(dimmer.set(0.59))).broken.any()
    assert brinell.attack(Grid(11), dimmer.target, dimmer.lift(x), y, Threat(dimmer.set(0.61))).broken.all()


def test_the_whole_lattice_is_asked_once():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(net[1].weight)
    with torch.no_grad():
        net[1].bias.copy_(torch.tensor([1.0, 0.0]))
    changed = Transformed(target(net), RotateShift(), (1, 2, 2))
    x, y = torch.rand(2, 1, 2, 2, generator=generator()), torch.zeros(2, dtype=torch.int64)
    found = brinell.attack(Grid((31, 5, 5)), changed.target, changed.lift(x), y, Threat(changed.set()))
    assert found.queries.tolist() == [776, 776]  # and the first look
    with pytest.raises(UsageError, match="give one for each"):
        brinell.attack(Grid((5, 5)), changed.target, changed.lift(x), y, Threat(changed.set()))
