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


@pytest.mark.parametrize(
    ("made", "share"),
    [
        (Square(queries=200), 1.0),
        (SimBA(queries=400), 0.8),
        (GenAttack(generations=80), 0.8),
        (NES(steps=20, pairs=10, smoothing=0.2), 0.5),
    ],
    ids=lambda made: type(made).__name__,
)
def test_they_are_broken_within_a_wide_radius(made, share) -> None:
    x = torch.rand(200, 4, generator=torch.Generator().manual_seed(3))
    y = (x[:, 0] + x[:, 1] > 1).long()
    for model in models():
        asked = brinell.target(model.fit(x.numpy(), y.numpy()), box=UNIT)
        found = attack(made, asked, x[:8], y[:8], Threat(Linf(0.6), access=Access.SCORES, queries=400))
        assert found.broken.float().mean() >= share


def test_the_score_of_the_class_aimed_at_is_enough_to_come_nearer() -> None:
    x = torch.rand(200, 4, generator=torch.Generator().manual_seed(3))
    y = (x[:, 0] + x[:, 1] > 1).long()
    for model in models():
        asked = brinell.target(model.fit(x.numpy(), y.numpy()), box=UNIT)
        threat = Threat(L2(float("inf")), access=Access.SCORES, queries=400)
        found = attack(PartialInformation(spread=0.1), asked, x[:8], y[:8], threat)
        assert found.broken.all()
        assert found.distance.median() < 0.6
