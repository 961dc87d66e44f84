"""Regions, counted and covered; the nearest boundary against closed forms, grids, and other exact solvers."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

import brinell
from brinell.auditing import Plan, Stage
from brinell.data import Dataset
from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs import (
    MILP,
    BranchAndBound,
    Graph,
    RegionWalk,
    Unsupported,
    certified,
    drawn,
    linear_regions,
    margins,
)
from brinell.proofs.exact.regions import walk
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import Node, graph
from brinell.proofs.network.operators import Linear
from brinell.questions.evasion import alone
from brinell.questions.evasion.estimate import estimate
from brinell.threat import L0, L1, L2, Box, Linf, Threat
from brinell.threat.goal import met
from proofs.networks import UNIT, examples, perceptron, residual

WIDE = Box(-2.0, 2.0)
SETS = pytest.mark.parametrize("kind", [Linf, L1, L2], ids=lambda kind: kind.name)


def problem(widths, seed, count=3):
    """A network, points of the wide box, and what it says of them."""
    net = perceptron(widths, seed)
    x0 = 4 * examples(net, count, seed) - 2
    return net, x0, net(x0).argmax(1)


def stack(*layers: tuple[list, list]) -> Graph:
    """Linear layers with ReLUs between."""
    build = Builder()
    x = build.input((len(layers[0][0][0]),))
    for index, (weight, bias) in enumerate(layers):
        x = build.relu(x) if index else x
        x = build.add(Linear(torch.tensor(weight).double(), torch.tensor(bias).double()), x)
    return graph(build.nodes)


@pytest.mark.parametrize("widths", [(2, 6, 2), (3, 5, 2), (1, 7, 2)])
def test_a_layer_of_planes_in_general_position_divides_space_as_arrangements_do(widths) -> None:
    """sum over k <= n of (m choose k), for m planes in n dimensions (Zaslavsky 1975)."""
    inputs, planes, _ = widths
    found = linear_regions(perceptron(widths, 0), Box(-1e4, 1e4))
    assert len(found) == sum(math.comb(planes, k) for k in range(inputs + 1))


def test_regions_cover_the_box_once_and_the_network_is_affine_in_each() -> None:
    for seed in range(2):
        net = perceptron((2, 6, 5, 3), seed)
        found = linear_regions(net, WIDE)
        points = 4 * torch.rand(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 2
        held = np.stack([(points.numpy() @ r.normals.T <= r.offsets).all(1) for r in found])
        assert (held.sum(0) == 1).all()
        at = held.argmax(0)
        for x, scores, place in zip(points.numpy(), net(points).numpy(), at, strict=True):
            np.testing.assert_allclose(found[place].weights @ x + found[place].constant, scores, atol=1e-10)
        assert len({r.pattern for r in found}) == len(found) >= len(set(at.tolist()))


def test_they_are_given_the_nearest_first() -> None:
    net, x0, _ = problem((2, 6, 5, 3), 0)
    set = L2(math.inf, WIDE)
    for one in x0.split(1):
        steps = list(walk(net, one, set))
        distances = [distance for distance, _ in steps]
        assert distances == sorted(distances)
        for distance, region in steps:
            assert distance == pytest.approx(set.nearest_in(one, region.normals, region.offsets)[1], abs=1e-8)


@pytest.mark.parametrize(
    ("first", "count"),
    [
        (([[1.0, 0.0], [1.0, 0.0]], [0.0, 0.0]), 2),  # one plane, twice
        (([[1.0, 0.0], [-2.0, 0.0]], [0.0, 0.0]), 2),  # from both sides
        (([[1.0, 0.0], [0.0, 0.0]], [0.0, 0.0]), 2),  # one that is constant, and zero
        (([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), 4),
        (([[1.0, 0.0], [1.0, 0.0]], [0.0, 1.0]), 3),  # parallel
    ],
)
def test_planes_that_coincide_and_neurons_that_are_constant_are_no_obstacle(first, count) -> None:
    net = stack(first, ([[1.0, -1.0], [0.5, 2.0]], [0.1, 0.0]))
    assert len(linear_regions(net, WIDE)) == count
    second = stack(first, ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[1.0, -1.0], [0.5, 2.0]], [0.1, 0.0]))
    assert len(linear_regions(second, WIDE)) == count, "a second layer that bends where the first does"


@SETS
def test_a_linear_model_is_as_far_from_its_plane_as_the_closed_form_says(kind) -> None:
    net = perceptron((4, 2), 1)
    x0 = examples(net, 6, 0)
    scores, linear = net(x0), net.nodes[1].operator
    w = linear.weight[0] - linear.weight[1]
    norm = {Linf: w.abs().sum(), L1: w.abs().max(), L2: w.norm()}[kind]
    found = RegionWalk()(net, x0, scores.argmax(1), kind(math.inf, Box(-99.0, 99.0)))
    torch.testing.assert_close(found.distance, (scores[:, 0] - scores[:, 1]).abs() / norm, rtol=1e-6, atol=1e-9)
    assert (found.certified < found.distance).all()
    torch.testing.assert_close(found.certified, found.distance, rtol=1e-3, atol=0)


@pytest.mark.sweep(3)
@SETS
def test_no_point_of_a_grid_is_nearer_than_certified_and_some_are_as_near(kind) -> None:
    line = torch.linspace(-2, 2, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    for seed in range(2):
        net, x0, y = problem((2, 6, 4, 3), seed, 2)
        set = kind(math.inf, WIDE)
        found = RegionWalk()(net, x0, y, set)
        labels = net(grid).argmax(1)
        for row, one in enumerate(x0.split(1)):
            distances = set.distance(one.expand_as(grid), grid)[labels != y[row]]
            nearest = float(distances.min()) if len(distances) else math.inf
            assert nearest >= found.certified[row]
            assert found.distance[row] <= nearest + 0.03 or nearest == math.inf
            if found.distance[row] < math.inf:
                assert met(net(found.x[row : row + 1]), y[row : row + 1], None)
                assert float(set.distance(one, found.x[row : row + 1])) == found.distance[row]


@pytest.mark.parametrize("seed", [60, 87])
def test_where_the_line_to_a_corner_leaves_its_region_a_witness_is_found_beside_it(seed: int) -> None:
    net, x0, y = problem((2 + seed % 2, 5, 4, 3), seed, 1)
    found = RegionWalk()(net, x0, y, Linf(math.inf, WIDE))
    assert met(net(found.x), y, None).all()
    assert float(found.certified) < float(found.distance) < float(found.certified) * (1 + 1e-3)


def agree(seed: int) -> bool:
    """Whether there was a boundary: then others prove everything up to it, and do not prove it.

    A MILP proves all but the margin that it takes off for its solver's tolerances.
    """
    net, x0, y = problem((2 + seed % 2, 5, 4, 3), seed, 1)
    found, spec = RegionWalk()(net, x0, y, Linf(math.inf, WIDE)), margins(y, 3)
    distance = float(found.distance)
    if distance < math.inf:
        for verifier, margin in ((BranchAndBound(nodes=5000), 0.0), (MILP(), 1e-4)):
            before = verifier(net, x0, Linf(distance * (1 - 1e-4), WIDE), spec)
            assert distance < 1e-4 or certified(before + margin)
            assert not certified(verifier(net, x0, Linf(distance * (1 + 1e-6), WIDE), spec))
    return distance < math.inf


@pytest.mark.slow
def test_other_exact_solvers_agree_about_where_the_boundary_is() -> None:
    assert sum(agree(seed) for seed in range(4)) >= 1


@pytest.mark.slow
def test_other_exact_solvers_agree_on_200_networks() -> None:
    assert sum(agree(seed) for seed in range(200)) >= 50


@pytest.mark.slow
def test_a_class_that_is_aimed_at_is_farther_than_any() -> None:
    net, x0, y = problem((2, 6, 6, 3), 5, 4)
    set = L2(math.inf, WIDE)
    nearest = RegionWalk()(net, x0, y, set)
    aimed = [RegionWalk()(net, x0, y, set, (y + k) % 3) for k in (1, 2)]
    torch.testing.assert_close(
        torch.minimum(aimed[0].distance, aimed[1].distance), nearest.distance, rtol=1e-5, atol=1e-6
    )
    for k, found in zip((1, 2), aimed, strict=True):
        reached = found.distance.isfinite()
        assert (net(found.x).argmax(1) == (y + k) % 3)[reached].all()
    assert nearest.distance.isfinite().any()


def test_with_few_regions_the_certificate_reaches_as_far_as_the_walk_came() -> None:
    net, x0, y = problem((2, 6, 6, 3), 5, 4)
    set, before = Linf(math.inf, WIDE), torch.zeros(4).double() - torch.inf
    whole = RegionWalk()(net, x0, y, set)
    for regions in (1, 4, 16):
        some = RegionWalk(regions=regions)(net, x0, y, set)
        assert (some.certified >= before).all()
        assert (some.certified <= whole.certified).all()
        assert (some.distance >= whole.distance * (1 - 1e-6)).all()
        before = some.certified
    assert (RegionWalk(regions=1)(net, x0, y, set).certified < whole.certified).any()


def test_nothing_beyond_the_radius_is_searched_and_a_wrong_example_is_its_own_witness() -> None:
    net, x0, y = problem((2, 6, 6, 3), 5, 4)
    whole = RegionWalk()(net, x0, y, L2(math.inf, WIDE))
    radius = float(whole.distance.where(whole.distance.isfinite(), 0).max()) / 2
    near = RegionWalk()(net, x0, y, L2(radius, WIDE))
    assert (near.certified <= radius).all()
    assert torch.equal(near.distance.isfinite(), whole.distance <= radius)
    wrong = RegionWalk()(net, x0, (y + 1) % 3, L2(radius, WIDE))
    assert (wrong.distance == 0).all()
    assert (wrong.certified == -torch.inf).all()
    assert torch.equal(wrong.x, x0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_of_what_is_no_number_nothing_is_certified(value) -> None:
    net, x0, y = problem((2, 4, 4, 3), 0)
    sick = net.nodes[3].operator
    weight = sick.weight.clone()
    weight[0, 0] = value
    nodes = (*net.nodes[:3], Node(Linear(weight, sick.bias), net.nodes[3].inputs, net.nodes[3].shape), *net.nodes[4:])
    found = RegionWalk()(Graph(nodes), x0, y, Linf(0.1, WIDE))
    assert (found.certified == -torch.inf).all()
    assert found.distance.isinf().all()
    x0[1, 0] = value
    assert (RegionWalk()(net, x0, y, Linf(0.1, WIDE)).certified == -torch.inf).tolist() == [False, True, False]


def test_what_cannot_be_walked_is_refused_by_name() -> None:
    small = Box(0.0, 1.0)
    with pytest.raises(UsageError, match="the network has 72 inputs; RegionWalk walks up to 20"):
        RegionWalk()(residual(0), examples(residual(0), 1, 0), torch.zeros(1).long(), Linf(0.1, small))
    pooled = residual(0, maximum=True)
    with pytest.raises(UsageError, match="MaxPool has no linear pieces to walk"):
        RegionWalk(inputs=99)(pooled, examples(pooled, 1, 0), torch.zeros(1).long(), Linf(0.1, small))
    with pytest.raises(Unsupported, match="MaxPool"):
        linear_regions(pooled, small)
    with pytest.raises(UsageError, match="does not answer for the set 'l0'; it knows linf, l1, l2"):
        RegionWalk()(perceptron((2, 3, 2), 0), torch.zeros(1, 2), torch.zeros(1).long(), L0(1, small))
    with pytest.raises(UsageError, match="regions is 0"):
        RegionWalk(regions=0)


def tiny() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """A network of two inputs, and 30 examples that it gets right."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    x = torch.rand(30, 2)
    net[4].bias.data -= net(x).mean(0).detach()
    return net.eval(), (x, net(x).argmax(1))


@pytest.mark.slow
def test_an_audit_with_it_leaves_nothing_open() -> None:
    net, data = tiny()
    target, plan = brinell.target(net), Plan(name="exact", stages=(Stage(engine="Clean"), Stage(engine="RegionWalk")))
    run = brinell.audit(target, data, Threat(Linf(0.3)), plan, radii=(0.02, 0.1, 0.3), workers=1)
    assert [run.at(r).open_count for r in (0.02, 0.1, 0.3)] == [0, 0, 0]
    assert run.at(0.3).broken_count
    assert run.at(0.02).certified_count
    assert {c.soundness for c in run._board.certificates.values()} == {Soundness.REAL}
    strike = alone(Stage(engine="RegionWalk"), target, Dataset.of(*data), Threat(Linf(math.inf)))
    assert strike.figures.curve.at(0.1) == run.at(0.1).certified
    assert estimate(plan, target, Dataset.of(*data), Linf(0.1), 1)[1].left_out is None


def test_an_audit_of_a_network_with_many_inputs_leaves_it_out_and_says_why() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(25, 2))
    plan = Plan(name="exact", stages=(Stage(engine="Clean"), Stage(engine="RegionWalk")))
    x = torch.rand(4, 1, 5, 5)
    data = x, net(x).argmax(1)
    run = brinell.audit(brinell.target(net), data, Threat(Linf(0.01)), plan, workers=1)
    assert any("RegionWalk() left out: the network has 25 inputs" in note for note in run.result.notes)
    assert "25 inputs" in estimate(plan, brinell.target(net), Dataset.of(*data), Linf(0.1), 1)[1].left_out


def test_a_drawing_outlines_every_region_and_colours_what_each_class_has() -> None:
    net = stack(([[1.0, 0.0], [0.0, 1.0]], [-0.25, -0.5]), ([[1.0, 1.0], [0.0, 0.0]], [0.0, 0.25]))
    picture = drawn(net, UNIT, torch.tensor([[0.5, 0.5]]), side=100)
    svg = ElementTree.fromstring(picture)
    colours, outlines, dots = svg.findall("{http://www.w3.org/2000/svg}g")
    assert svg.findtext("{http://www.w3.org/2000/svg}title") == "4 linear regions"
    assert len(outlines) == 4
    assert [(dot.get("cx"), dot.get("cy")) for dot in dots] == [("50.00", "50.00")]

    def area(polygon) -> float:
        x, y = np.array([point.split(",") for point in polygon.get("points").split()], float).T
        return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2

    assert sum(map(area, outlines)) == pytest.approx(100 * 100)
    shares = {}
    for part in colours:
        shares[part.get("fill")] = shares.get(part.get("fill"), 0) + area(part)
    # Class 1 has where relu(x - 1/4) + relu(y - 1/2) <= 1/4: two rectangles that overlap, and a triangle between.
    assert shares["#e8b26f"] == pytest.approx(1e4 * (0.5 * 0.5 + 0.25 * 0.25 + 0.25 * 0.25 / 2), abs=1)
    with pytest.raises(UsageError, match="a drawing needs 2 inputs"):
        drawn(perceptron((3, 2), 0), UNIT)
