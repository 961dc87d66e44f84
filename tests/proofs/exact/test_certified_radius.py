"""The largest radius a verifier proves: known for a linear network, and monotone in the verifier."""

import math

import pytest
import torch
from torch import nn

from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs import CROWN, IBP, MILP, AlphaCROWN, CertifiedRadius, margins, trace
from brinell.proofs.query.verifier import Verifier
from brinell.threat import L1, L2, REALS, Linf
from models import affine, generator
from proofs.networks import UNIT, examples, perceptron

SETS = (Linf, L2, L1)


@pytest.mark.sweep(6)
@pytest.mark.parametrize("kind", SETS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("classes", [2, 5])
def test_of_a_linear_network_it_is_the_distance_less_a_rung(kind, classes) -> None:
    model = affine(8, classes)
    x = torch.rand(30, 8, generator=generator(1))
    y = model(x).argmax(1)
    exact = model.distances(x, y, kind.name)
    found = CertifiedRadius(verifier=CROWN(), tolerance=0.1)(trace(model, x), x, y, kind(math.inf, REALS))
    assert (found.certified <= exact).all()
    assert (found.certified * 1.1 * 1.001 >= exact).all()
    assert (found.margin > 0).all()
    assert found.distance.isinf().all(), "it finds no witnesses"


@pytest.mark.parametrize("kind", SETS, ids=lambda kind: kind.name)
def test_what_it_says_the_verifier_shows(kind) -> None:
    net = perceptron((4, 8, 8, 3), 3)
    x = examples(net, 12, 0)
    y, verifier = net(x).argmax(1), AlphaCROWN()
    found = CertifiedRadius(verifier=verifier)(net, x, y, kind(math.inf, UNIT))
    for i, radius in enumerate(found.certified.tolist()):
        here = slice(i, i + 1)
        assert (verifier(net, x[here], kind(radius, UNIT), margins(y[here], 3)) > 0).all()
        beyond = kind(min(radius * 1.06, UNIT.width), UNIT)
        if radius * 1.06 < UNIT.width and radius > 0:
            assert not (verifier(net, x[here], beyond, margins(y[here], 3)) > 0).all()


def test_a_tighter_verifier_reaches_at_least_as_far_and_somewhere_farther() -> None:
    net = perceptron((4, 16, 16, 3), 1)
    x = examples(net, 20, 0)
    y = net(x).argmax(1)
    weak, strong = (
        CertifiedRadius(verifier=verifier)(net, x, y, Linf(math.inf, UNIT)).certified for verifier in (IBP(), CROWN())
    )
    assert (weak <= strong).all()
    assert (weak < strong).any()


def test_the_radius_of_the_set_is_proved_where_it_can_be() -> None:
    model = affine(8)
    x = torch.rand(20, 8, generator=generator(1))
    y = model(x).argmax(1)
    exact = model.distances(x, y, "linf")
    most = float(exact.median())
    found = CertifiedRadius(verifier=CROWN(), tolerance=0.3)(trace(model, x), x, y, Linf(most, REALS))
    assert (found.certified[exact > 1.001 * most] == most).all()
    assert (found.certified[exact < most] < most).all()


def test_an_example_stands_alone() -> None:
    net = perceptron((4, 8, 8, 3), 2)
    x = examples(net, 6, 0)
    y, search = net(x).argmax(1), CertifiedRadius(verifier=IBP())
    together = search(net, x, y, Linf(math.inf, UNIT)).certified
    alone = torch.cat([search(net, x[i : i + 1], y[i : i + 1], Linf(math.inf, UNIT)).certified for i in range(6)])
    assert torch.equal(together, alone)


def test_what_is_wrong_as_it_is_has_no_radius_and_an_aim_is_farther_than_the_nearest_class() -> None:
    net = perceptron((4, 8, 8, 3), 2)
    x = examples(net, 10, 0)
    y = net(x).argmax(1)
    search, set = CertifiedRadius(verifier=CROWN()), Linf(math.inf, UNIT)
    assert (search(net, x, (y + 1) % 3, set).certified == -math.inf).all()
    assert (search(net, x, y, set, (y + 1) % 3).certified >= search(net, x, y, set).certified / 1.05).all()


class _Nothing(Verifier):
    """Shows nothing."""

    def __call__(self, graph, x0, set, spec, checkpoint=lambda: None):
        return torch.full(spec.shape[:2], -torch.inf, dtype=torch.float64)


def test_a_verifier_that_shows_nothing_is_given_up() -> None:
    net = perceptron((4, 8, 3), 0)
    x = examples(net, 3, 0)
    found = CertifiedRadius(verifier=_Nothing())(net, x, net(x).argmax(1), L2(math.inf, UNIT))
    assert (found.certified == 0).all(), "x itself is right, and no more is known"


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 2.0, math.nan])
def test_a_tolerance_that_cannot_be_is_refused(tolerance) -> None:
    with pytest.raises(UsageError, match="tolerance"):
        CertifiedRadius(tolerance=tolerance)


def test_a_certificate_is_as_sound_as_its_verifier_is() -> None:
    net = perceptron((3, 6, 3), 3)
    x = examples(net, 6, 0)
    y = net(x).argmax(1)
    levels = {
        verifier: CertifiedRadius(verifier=verifier, tolerance=0.5)(net, x, y, Linf(0.3, UNIT)).soundness
        for verifier in (CROWN(), MILP())
    }
    assert levels[CROWN()] == (Soundness.FLOAT32,) * 6
    assert levels[MILP()] == (Soundness.REAL,) * 6


def test_where_a_level_is_asked_for_it_seeks_the_radius_that_has_it() -> None:
    """Scores are x and 0.25, and float32 loses a part of x in what is added and taken off again."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    for layer, weight, bias in ((net[0], [[1.0]], [1e4]), (net[2], [[1.0], [0.0]], [-1e4, 0.25])):
        layer.weight.data, layer.bias.data = torch.tensor(weight).double(), torch.tensor(bias).double()
    x, y, ball = torch.tensor([[0.75]]).double(), torch.tensor([0]), Linf(math.inf, UNIT)
    search = CertifiedRadius(verifier=CROWN(), tolerance=0.001)
    lax, strict = (search.demanding(level)(trace(net, x), x, y, ball) for level in (Soundness.REAL, Soundness.FLOAT32))
    assert lax.soundness == (Soundness.FLOAT64,)
    assert strict.soundness == (Soundness.FLOAT32,)
    assert 0.499 < lax.certified.item() < 0.5
    assert 0.4 < strict.certified.item() < 0.499
    assert search.demanding(Soundness.FLOAT32).demanding(Soundness.REAL).soundness is Soundness.FLOAT32
