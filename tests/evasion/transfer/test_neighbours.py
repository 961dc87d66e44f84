"""The soft form of nearest neighbours."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import brinell
from brinell.errors import UsageError
from brinell.evasion import FGSM, PGD, Noise, attack, margin
from brinell.evasion.transfer import Transfer, soft_neighbours
from brinell.threat import L2, Access, Linf, Threat
from models import generator


def sample(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.random((n, 3))
    return x, np.array(["a", "b", "c"])[(3 * x[:, 0]).astype(int)]


def test_scores_are_the_votes_by_hand() -> None:
    x, y = sample()
    neighbours = brinell.target(KNeighborsClassifier(1).fit(x, y))
    asked = torch.rand(9, 3, generator=generator(), dtype=torch.float64)
    soft = soft_neighbours(neighbours, 0.5).scores(asked)
    for row in range(9):
        votes = np.exp(-((asked[row].numpy() - x) ** 2).sum(1) / 0.5)
        assert np.allclose(soft[row].exp().numpy(), [votes[y == name].sum() for name in "abc"])


def test_a_low_temperature_decides_as_the_nearest_neighbour() -> None:
    x, y = sample()
    neighbours = brinell.target(KNeighborsClassifier(1).fit(x, y))
    asked = torch.rand(200, 3, generator=generator())
    assert torch.equal(soft_neighbours(neighbours, 1e-4).labels(asked), neighbours.labels(asked))


def test_the_gradient_leads_to_the_nearest_point_of_another_class() -> None:
    line = brinell.target(KNeighborsClassifier(1).fit(np.array([[0.2, 0.5], [0.8, 0.5]]), [0, 1]))
    x = torch.tensor([[0.3, 0.5], [0.3, 0.7]], dtype=torch.float64)
    # From x0 the other class is reached at 0.5 along the first feature alone.
    attacker = Transfer(soft_neighbours(line, 0.1), FGSM(margin))
    for set in (L2(0.201), Linf(0.201)):
        found = attack(attacker, line, x, line.labels(x), Threat(set))
        assert found.broken.all()
        assert torch.allclose(found.x[:, 0], x[:, 0] + 0.201, atol=1e-6)
        assert not attack(attacker, line, x, line.labels(x), Threat(set.resized(0.19))).broken.any()


def test_what_it_finds_fools_many_neighbours_too() -> None:
    x, y = sample(200)
    neighbours = brinell.target(KNeighborsClassifier(5).fit(x, y))
    asked = torch.rand(100, 3, generator=generator())
    labels = neighbours.labels(asked)
    attacker = Transfer(soft_neighbours(neighbours, 0.02), PGD(steps=20, objective=margin))
    found = attack(attacker, neighbours.restrict(Access.LABELS), asked, labels, Threat(Linf(0.2)))
    noise = attack(Noise(draws=1), neighbours, asked, labels, Threat(Linf(0.2)))
    assert found.broken.sum() > 1.2 * noise.broken.sum()
    assert found.queries.max() == 2


def test_what_has_no_soft_form_is_refused() -> None:
    x, y = sample()
    with pytest.raises(UsageError, match="KNeighborsClassifier with the metric 'manhattan'"):
        soft_neighbours(brinell.target(KNeighborsClassifier(p=1).fit(x, y)))
    with pytest.raises(UsageError, match="DecisionTreeClassifier with the metric None"):
        soft_neighbours(brinell.target(DecisionTreeClassifier().fit(x, y)))
    with pytest.raises(UsageError, match="temperature is 0"):
        soft_neighbours(brinell.target(KNeighborsClassifier().fit(x, y)), 0.0)
