"""What decisions cost, what is remembered for a part of a search, and what an attack may spend of its own accord."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from brinell.evasion import Hunt
from brinell.threat import L2, Access, Linf, Threat
from models import UNIT, Of, generator, target


@dataclass
class Names:
    name: Tensor


def step(edge: float = 0.5) -> Of:
    """Class 1 where the first feature lies above the edge."""
    return Of(lambda x: torch.stack([torch.full((len(x),), edge), x.flatten(1)[:, 0]], 1))


def hunt_on(x: Tensor, threat: Threat, model: Of | None = None) -> Hunt:
    return Hunt(target(model or step()), x, torch.zeros(len(x), dtype=torch.int64), threat.within(UNIT), generator())


LABELS = Threat(L2(float("inf")), access=Access.LABELS)


@pytest.mark.parametrize("access", [Access.LABELS, Access.SCORES])
def test_only_those_asked_are_counted_and_the_others_are_answered_false(access) -> None:
    x = torch.full((3, 2), 0.2)
    hunt = hunt_on(x, Threat(L2(float("inf")), access=access))
    points = torch.full((2, 3, 2), 0.9)
    asked = torch.tensor([[True, False, True], [False, False, True]])
    hits = hunt.decide(points, asked)
    assert torch.equal(hits, asked)
    assert hunt.queries.tolist() == [2, 1, 3]  # with the first look at the clean examples
    assert hunt.reach.isfinite().tolist() == [True, False, True]


def test_asking_nobody_asks_nothing() -> None:
    hunt = hunt_on(torch.full((3, 2), 0.2), LABELS)
    before = hunt._target.meter.forwards
    assert not hunt.decide(torch.full((1, 3, 2), 0.9), torch.zeros(3, dtype=torch.bool)).any()
    assert hunt._target.meter.forwards == before


def test_an_example_that_cannot_pay_leaves_and_takes_its_answers_with_it() -> None:
    hunt = hunt_on(torch.tensor([[0.1, 0.1], [0.2, 0.2]]), Threat(L2(float("inf")), access=Access.LABELS, queries=3))
    points = torch.full((3, 2, 2), 0.9)
    hits = hunt.decide(points, torch.tensor([[True, True], [True, True], [True, False]]))
    assert hunt.rows.tolist() == [1]
    assert hits.tolist() == [[True], [True], [False]]
    assert hunt.queries.tolist() == [1, 3]


def test_of_several_points_that_serve_the_nearest_is_kept() -> None:
    hunt = hunt_on(torch.full((1, 2), 0.2), LABELS)
    hunt.decide(torch.tensor([[[0.9, 0.2]], [[0.6, 0.2]], [[0.4, 0.2]]]))
    assert hunt.reach.item() == pytest.approx(0.4)


def test_a_point_outside_the_set_is_answered_and_is_no_witness() -> None:
    hunt = hunt_on(torch.full((1, 2), 0.2), Threat(Linf(0.35), access=Access.LABELS))
    assert hunt.decide(torch.full((1, 1, 2), 0.9)).all()
    assert hunt.reach.isinf().all()
    hunt.decide(torch.full((1, 1, 2), 0.54))
    assert len(hunt) == 0


def test_what_is_carried_for_a_block_shrinks_in_it_and_is_left_alone_after_it() -> None:
    x = torch.tensor([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]])
    hunt = hunt_on(x, Threat(Linf(0.35), access=Access.LABELS))
    with hunt.carrying(Names(hunt.rows.clone())) as outer, hunt.carrying(Names(hunt.rows.clone())) as inner:
        hunt.decide(torch.full((1, 3, 2), 0.52))
        assert inner.name.tolist() == outer.name.tolist() == hunt.rows.tolist() == [0]
    hunt.limit(int(hunt.queries[0]))
    hunt.decide(torch.full((1, 1, 2), 0.45))
    assert len(hunt) == 0
    assert outer.name.tolist() == inner.name.tolist() == [0]


def test_what_was_carried_is_let_go_when_the_block_raises() -> None:
    hunt = hunt_on(torch.full((2, 2), 0.2), LABELS)
    with pytest.raises(KeyError), hunt.carrying(Names(hunt.rows.clone())):
        raise KeyError
    assert not hunt._memory._carried


@pytest.mark.parametrize(("allowed", "own", "spent"), [(None, 4, 4), (9, 4, 4), (3, 4, 3)])
def test_an_attack_spends_no_more_than_its_own_limit_nor_than_the_threat_allows(allowed, own, spent) -> None:
    hunt = hunt_on(torch.full((2, 2), 0.2), Threat(L2(float("inf")), access=Access.LABELS, queries=allowed))
    hunt.limit(own)
    assert hunt.left.tolist() == [spent - 1] * 2
    for _ in hunt.steps(20):
        hunt.decide(torch.full((1, len(hunt), 2), 0.3))
    assert hunt.queries.tolist() == [spent] * 2
