"""Who fools whom."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from torch.nn.functional import cross_entropy

import brinell
from brinell.errors import UsageError
from brinell.evasion import FGSM, PGD, Noise, Square, attack
from brinell.evasion.transfer import LeafSearch, Transfer, matrix, usual
from brinell.evasion.units import in_units, ordinary_unit
from brinell.targets import Target
from brinell.threat import Access, Linf, Targeted, Threat
from models import affine, generator, target

SMALL = Threat(Linf(0.2))


def examples(model: Target, n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(n, 6, generator=generator(1))
    return x, model.labels(x)


def test_the_matrix_counts_what_each_target_had_right_and_lost() -> None:
    models = {"a": target(affine(6, 3, seed=0)), "b": target(affine(6, 3, seed=1)), "same as a": target(affine(6, 3))}
    x, y = examples(models["a"])
    made = matrix(models, x, y, SMALL)
    for i, source in enumerate(models):
        right = models[source].labels(x) == y
        assert made.right[i].count == int(right.sum())
        # One signed step by hand, from where the source is right, in scores of ordinary spread.
        unit = ordinary_unit(models[source].scores(x))

        def surprise(scores, rows, unit=unit):
            return cross_entropy(in_units(scores, unit[rows]), y[rows], reduction="none")

        _, _, g = models[source].gradient(x, surprise)
        shown = torch.where(right.unsqueeze(1), (x + 0.2 * g.sign()).clamp(0, 1), x)
        for name, other in models.items():
            has = other.labels(x) == y
            cell = made.cell(source, name)
            assert (cell.source, cell.target) == (source, name)
            assert cell.fooled.of == int(has.sum())
            assert abs(cell.fooled.count - int((has & (other.labels(shown) != y)).sum())) <= 1  # rounding at the edge
    assert made.cell("a", "same as a").fooled == made.cell("a", "a").fooled
    assert made.cell("a", "a") != made.cell("a", "b")


def test_with_an_aim_only_the_aim_counts() -> None:
    models = {"a": target(affine(6, 3, seed=0)), "b": target(affine(6, 3, seed=1))}
    x, y = examples(models["a"])
    x, y = x[y != 1], y[y != 1]
    threat = Threat(Linf(0.5), Targeted(1))
    aimed = matrix(models, x, y, threat, {name: PGD(steps=10) for name in models})
    found = attack(PGD(steps=10), models["a"], x, y, threat)
    assert aimed.cell("a", "a").fooled.count == int(found.broken.sum())


def test_each_kind_of_model_is_crafted_on_as_its_kind_allows() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((60, 4))
    y = (x[:, 0] + x[:, 1] > 1).astype(int)

    def made(estimator) -> Target:
        return brinell.target(estimator.fit(x, y))

    assert usual(target(affine(4))) == FGSM()
    for estimator in (LogisticRegression(), SVC(), KNeighborsClassifier()):
        chosen = usual(made(estimator))
        assert isinstance(chosen, Transfer)
        assert chosen.attack == FGSM()
        assert chosen.source.access >= Access.GRADIENTS
    assert isinstance(usual(made(DecisionTreeClassifier())), LeafSearch)
    assert isinstance(usual(made(RandomForestClassifier(5))), Square)
    assert isinstance(usual(made(GaussianNB())), Square)
    assert isinstance(usual(made(SVC()).restrict(Access.LABELS)), Noise)


def test_sources_are_told_of_in_order() -> None:
    models = {name: target(affine(6, seed=i)) for i, name in enumerate("abc")}
    told: list[str] = []
    matrix(models, *examples(models["a"]), SMALL, on_source=told.append)
    assert told == ["a", "b", "c"]


def test_an_attack_for_a_target_nobody_named_is_refused() -> None:
    model = target(affine(6))
    x, y = examples(model)
    with pytest.raises(UsageError, match="attacks name b; the targets are a"):
        matrix({"a": model}, x, y, SMALL, {"b": FGSM()})
