"""Relaxed robustness, against sampling, the definition written out, and ordinary robustness."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.errors import UsageError
from brinell.proofs import CROWN, GloRo, affinity, certified, constants, margins, top_k
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import Linear
from brinell.threat import L2, Linf
from proofs.networks import UNIT, examples, inside, normal, perceptron


@settings(max_examples=20)
@given(seed=st.integers(0, 999), radius=st.sampled_from([0.0, 0.02, 0.1]), verifier=st.sampled_from([GloRo(), CROWN()]))
def test_the_leading_classes_stay_the_same_throughout_the_set(seed: int, radius: float, verifier) -> None:
    net, set = perceptron((4, 8, 5), seed), Linf(radius, UNIT)
    x0 = examples(net, 3, seed)
    found = top_k(verifier, net, x0, set, 4)
    points = inside(set, x0, 15, torch.Generator().manual_seed(seed))
    for row, size in enumerate(found.size.tolist()):
        assert int(found.classes[row].sum()) == size
        if size:
            led = net(points[:, row]).topk(size, 1).indices.sort(1).values
            assert (led == found.classes[row].nonzero().flatten()).all()


@settings(max_examples=20)
@given(seed=st.integers(0, 999))
def test_it_is_the_papers_definition_with_lipschitz_margins(seed: int) -> None:
    """m_k = min over j <= k of (y_(j) - max over i not in the top k of (y_i + eps K_ij)); the best k counts."""
    net, radius = perceptron((4, 8, 5), seed), 0.02
    x0, pairs = examples(net, 4, seed), constants(net).pairs[torch.inf]
    scores = net(x0)
    found = top_k(GloRo(), net, x0, Linf(radius), 3)
    for row, y in enumerate(scores):
        order = y.argsort(descending=True).tolist()
        best = max(
            min(float(y[j] - max(y[i] + radius * pairs[i, j] for i in order[k:])) for j in order[:k])
            for k in range(1, 4)
        )
        assert float(found.margin[row]) >= best - 1e-12  # l2 constants may show more


@settings(max_examples=15)
@given(seed=st.integers(0, 999))
def test_laxer_properties_hold_more_often(seed: int) -> None:
    net, set = perceptron((4, 12, 5), seed), Linf(0.05, UNIT)
    x0 = examples(net, 12, seed)
    strict = certified(CROWN()(net, x0, set, margins(net(x0).argmax(1), 5)))
    first = top_k(CROWN(), net, x0, set, 1)
    assert torch.equal(first.certified, strict)
    assert torch.equal(affinity(CROWN(), net, x0, set, []).certified, strict)
    grouped = affinity(CROWN(), net, x0, set, [[0, 1], [2, 3, 4]]).certified
    third = top_k(CROWN(), net, x0, set, 3).certified
    assert (strict <= grouped).all()
    assert (grouped <= third).all()
    assert (top_k(GloRo(), net, x0, set, 3).certified <= third).all()


def test_within_a_ball_crown_certifies_what_constants_do_and_more() -> None:
    """A network whose constant says something: two layers of orthogonal rows."""
    rng, build = torch.Generator().manual_seed(0), Builder()
    x = build.input((8,))
    for width in (8, 8, 5):
        weight = torch.linalg.qr(normal(8, 8, rng=rng)).Q[:width]
        x = build.add(Linear(weight, normal(width, rng=rng) / 8), x)
        x = x if width == 5 else build.relu(x)
    net, set = graph(build.nodes), L2(0.07, UNIT)
    x0 = examples(net, 100, 0)
    groups = [[0, 1], [2, 3, 4]]
    for ask in (
        lambda v: top_k(v, net, x0, set, 1),
        lambda v: top_k(v, net, x0, set, 3),
        lambda v: affinity(v, net, x0, set, groups),
    ):
        constant, substituted = ask(GloRo()), ask(CROWN())
        assert constant.certified.any()
        assert (substituted.margin >= constant.margin - 1e-9).all()
        assert substituted.certified.sum() > 1.1 * constant.certified.sum()


def test_two_classes_that_change_places_are_one_answer_where_they_are_one_group() -> None:
    """Scores (x, -x, -1): near 0 the first two change places, and the third stays behind."""
    build = Builder()
    weight, bias = torch.tensor([[1.0], [-1.0], [0.0]]).double(), torch.tensor([0.0, 0.0, -1.0]).double()
    build.add(Linear(weight, bias), build.input((1,)))
    net, x0 = graph(build.nodes), torch.tensor([[0.01]]).double()
    for verifier in (GloRo(), CROWN()):
        assert not top_k(verifier, net, x0, Linf(0.1), 1).certified
        assert top_k(verifier, net, x0, Linf(0.1), 2).classes.tolist() == [[True, True, False]]
        assert affinity(verifier, net, x0, Linf(0.1), [[0, 1]]).size.tolist() == [2]
        assert affinity(verifier, net, x0, Linf(0.1), [[1, 2]]).size.tolist() == [0]
        assert top_k(verifier, net, x0, Linf(0.1), 2).margin.item() == pytest.approx(0.89)


def test_classes_that_are_not_there_are_named() -> None:
    net = perceptron((4, 3), 0)
    x0 = examples(net, 1, 0)
    with pytest.raises(UsageError, match="k is 3; it must be from 1 to one less than the 3 classes"):
        top_k(GloRo(), net, x0, Linf(0.1), 3)
    with pytest.raises(UsageError, match=r"group \[0, 3\] must name classes from 0 to 2"):
        affinity(GloRo(), net, x0, Linf(0.1), [[0, 3]])
