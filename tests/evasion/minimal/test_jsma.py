from itertools import combinations

import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion import JSMA, attack
from brinell.evasion.minimal.jsma import most_salient
from brinell.threat import L0, REALS, Targeted, Threat
from models import Affine, affine, generator, relu_net, target

ANY = L0(float("inf"))


def by_enumeration(gain, loss, left, together):
    """(largest saliency, choices that have it) of one example."""
    best, found = 0.0, []
    for choice in combinations(range(len(gain)), together):
        rows = list(choice)
        a, b = gain[rows].sum().item(), loss[rows].sum().item()
        if left[rows].all() and a > 0 and b > 0 and a * b >= best:
            found = [*(found if a * b == best else []), choice]
            best = a * b
    return best, found


@pytest.mark.sweep(3)
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("features", [2, 3, 7, 20])
@pytest.mark.parametrize("whole", [False, True], ids=["reals", "few values, many ties"])
def test_the_features_chosen_are_those_that_enumeration_finds(together, features, whole) -> None:
    rng = generator(features)
    gain, loss = torch.randn(2, 200, features, generator=rng, dtype=torch.float64)
    if whole:
        gain, loss = gain.round(), loss.round()
    left = torch.rand(200, features, generator=rng) < 0.7
    chosen = most_salient(gain, loss, left, together)
    several = 0
    for row in range(200):
        _, best = by_enumeration(gain[row], loss[row], left[row], together)
        picked = tuple(chosen[row].nonzero().flatten().tolist())
        assert picked in best if best else picked == ()
        several += len(best) > 1
    assert (several > 0) == whole or features == 2


def test_choices_in_blocks_are_choices_at_once(monkeypatch) -> None:
    gain, loss = torch.randn(2, 30, 40, generator=generator())
    left = torch.ones(30, 40, dtype=torch.bool)
    whole = most_salient(gain, loss, left, 2)
    monkeypatch.setattr("brinell.evasion.minimal.jsma.CELLS", 1)
    assert torch.equal(most_salient(gain, loss, left, 2), whole)
    assert (whole.sum(1) == 2).any()


@pytest.mark.parametrize("step", [1.0, -1.0])
def test_on_two_classes_single_features_are_as_few_as_can_be(step) -> None:
    """Each moves the margin by its weight times its way to the box: where all start at one end, the order is exact."""
    weight = torch.randn(12, generator=generator(1), dtype=torch.float64)
    x = torch.full((1, 12), 0.0 if step > 0 else 1.0, dtype=torch.float64)
    gains = (2 * step * weight).clamp(min=0).sort(descending=True).values
    bias = (0.7 * gains.sum() / 2 + x @ weight).squeeze(0)  # class 0 leads by 0.7 of all that can be gained
    model = Affine(torch.stack([-weight, weight]), torch.stack([bias, -bias]))
    y = torch.tensor([0])
    fewest = int((gains.cumsum(0) < 0.7 * gains.sum()).sum()) + 1
    assert 1 < fewest < int((gains > 0).sum())
    found = attack(JSMA(step=step, both=False, together=1), target(model), x, y, Threat(ANY))
    assert found.distance.tolist() == [fewest]


def test_a_positive_step_only_adds_and_a_negative_one_only_takes_away() -> None:
    model = relu_net((12,))
    x = torch.rand(30, 12, generator=generator(2)).round()
    y = target(model).labels(x)
    for step in (1.0, -1.0):
        found = attack(JSMA(step=step, both=False, together=1), target(model), x, y, Threat(ANY))
        assert found.broken.any()
        assert (step * (found.x - x) >= 0).all()
        assert torch.isin(found.x, torch.tensor([0.0, 1.0])).all()  # binary features stay binary


def test_no_more_than_a_share_of_the_features_changes() -> None:
    model = affine(20)
    x = torch.rand(60, 20, generator=generator(3))
    y = target(model).labels(x)
    free = attack(JSMA(), target(model), x, y, Threat(ANY))
    few = attack(JSMA(share=0.1), target(model), x, y, Threat(ANY))
    assert torch.equal(few.broken, free.distance <= 2)
    assert few.broken.any()
    assert not few.broken.all()


def test_an_aim_is_reached_step_by_step_without_a_box() -> None:
    model = affine(10, 4)
    x = torch.rand(40, 10, generator=generator(4))
    y = target(model, REALS).labels(x)
    x, y = x[y != 2], y[y != 2]
    found = attack(JSMA(step=0.5), target(model, REALS), x, y, Threat(ANY, Targeted(2)))
    assert found.broken.float().mean() > 0.5


def test_an_example_that_is_done_is_asked_no_more() -> None:
    model = affine(20)
    x = torch.rand(60, 20, generator=generator(3))
    y = target(model).labels(x)
    together = attack(JSMA(), target(model), x, y, Threat(ANY))
    assert len(together.gradients.unique()) > 1
    for row in range(10):
        alone = attack(JSMA(), target(model), x[row : row + 1], y[row : row + 1], Threat(ANY))
        assert alone.gradients.item() == together.gradients[row]
        assert torch.equal(alone.x[0], together.x[row])


@pytest.mark.parametrize("about", [{"step": 0.0}, {"share": 0.0}, {"share": 1.5}, {"together": 3}, {"steps": 0}])
def test_settings_that_cannot_be_are_refused(about) -> None:
    with pytest.raises(UsageError):
        JSMA(**about)


def test_both_ways_break_what_one_way_cannot() -> None:
    """Half of the features help when raised, half when lowered: neither way alone is enough."""
    weight = torch.tensor([1.0, -1.0] * 6, dtype=torch.float64)
    x = torch.full((1, 12), 0.5, dtype=torch.float64)
    lead = torch.tensor(4.0, dtype=torch.float64)  # of 6 that all features together can gain, 3 either way
    model = Affine(torch.stack([-weight, weight]) / 2, torch.stack([lead, -lead]) / 2)
    y = torch.tensor([0])
    broken = {
        (step, both): bool(attack(JSMA(step=step, both=both, together=1), target(model), x, y, Threat(ANY)).broken)
        for step in (1.0, -1.0)
        for both in (False, True)
    }
    assert broken == {(1.0, False): False, (-1.0, False): False, (1.0, True): True, (-1.0, True): True}
