"""What has scores and no gradients is broken by its scores: trees, boosting, nearest neighbours."""

import pytest
import torch

import brinell
from brinell.evasion import NES, GenAttack, PartialInformation, SimBA, Square, attack
from brinell.threat import L2, Access, Linf, Threat
from models import UNIT


def models():
    pytest.importorskip("sklearn")
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(random_state=0), HistGradientBoostingClassifier(max_iter=5), KNeighborsClassifier(9)


def broken(made, asked, x, y) -> float:
    """The share broken within 0.6 and 400 queries, over five seeds."""
    threat = Threat(Linf(0.6), access=Access.SCORES, queries=400)
    found = [attack(made, asked, x[:8], y[:8], threat, seed=seed).broken for seed in range(5)]
    return torch.stack(found).float().mean().item()


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("made", "of_the_tree"),
    [
        (Square(queries=200), 0.7),
        (SimBA(queries=60, step=0.6), 0.7),
        (GenAttack(generations=80), 0.9),
        (NES(steps=20, pairs=10, smoothing=0.2 / 0.6), 0.8),
    ],
    ids=["Square", "SimBA", "GenAttack", "NES"],
)
def test_they_are_broken_within_a_wide_radius(made, of_the_tree) -> None:
    # A grown tree has scores of 0 and 1: nothing is better than the start until it is broken, so some starts are stuck.
    x = torch.rand(200, 4, generator=torch.Generator().manual_seed(3))
    y = (x[:, 0] + x[:, 1] > 1).long()
    for model, share in zip(models(), (of_the_tree, 0.9, 0.9), strict=True):
        asked = brinell.target(model.fit(x.numpy(), y.numpy()), box=UNIT)
        assert broken(made, asked, x, y) >= share


@pytest.mark.slow
def test_where_scores_have_steps_a_move_that_stays_on_its_step_finds_little() -> None:
    x = torch.rand(200, 4, generator=torch.Generator().manual_seed(3))
    y = (x[:, 0] + x[:, 1] > 1).long()
    for model in models():
        asked = brinell.target(model.fit(x.numpy(), y.numpy()), box=UNIT)
        short, long = (broken(SimBA(queries=60, step=step), asked, x, y) for step in (0.2, 0.6))
        assert short <= 0.5 < 0.7 < long


def test_the_score_of_the_class_aimed_at_is_enough_to_come_nearer() -> None:
    x = torch.rand(200, 4, generator=torch.Generator().manual_seed(3))
    y = (x[:, 0] + x[:, 1] > 1).long()
    for model in models():
        asked = brinell.target(model.fit(x.numpy(), y.numpy()), box=UNIT)
        threat = Threat(L2(float("inf")), access=Access.SCORES, queries=400)
        found = attack(PartialInformation(spread=0.1), asked, x[:8], y[:8], threat)
        assert found.broken.all()
        assert found.distance.median() < 0.6
