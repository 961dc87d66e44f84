"""On a linear model the smallest perturbation is known: lead / dual norm, where the box is far."""

import math

import pytest
import torch

from brinell.catalog import CATALOG
from brinell.errors import UsageError
from brinell.evasion import FAB, FMN, PDPGD, Attack, DeepFool, SigmaZero, attack, cross_entropy
from brinell.evasion.minimal.ddn import DDN
from brinell.threat import L0, L1, L2, Box, Linf, PerturbationSet, Targeted, Threat
from models import Affine, affine, generator, relu_net, target

FREE = {"linf": Linf(math.inf), "l2": L2(math.inf), "l1": L1(math.inf)}
ENDS = {"DeepFool": 1.0205}
"""What does not end at the boundary: DeepFool ends at 1 + overshoot."""

ASKED = [
    (row.resolve()(), FREE[set], ENDS.get(row.name, 1.005))
    for row in CATALOG
    if row.name in ("DeepFool", "DDN", "FMN", "FAB", "PDPGD")
    for set in row.sets
    if set in FREE
]
by_case = [f"{type(made).__name__}-{set.name}" for made, set, _ in ASKED]


def examples(model: Affine, n: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    x = 0.5 + 0.3 * (torch.rand(n, model.weight.shape[1], generator=generator(7)) - 0.5)
    return x, model(x).argmax(1)


@pytest.mark.sweep(8)
@pytest.mark.parametrize(("made", "set", "most"), ASKED, ids=by_case)
@pytest.mark.parametrize("classes", [2, 5])
def test_the_distance_is_the_smallest(made, set, most, classes) -> None:
    model = affine(8, classes)
    x, y = examples(model)
    found = attack(made, target(model, Box(-9.0, 9.0)), x, y, Threat(set))
    ratio = found.distance / model.distances(x, y, set.name)
    assert found.broken.all()
    assert ratio.min() > 1 - 1e-4
    assert ratio.median() <= most


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("made", "set", "most"), ASKED, ids=by_case)
def test_an_aim_is_reached(made, set, most) -> None:
    model = affine(8, 5)
    x = torch.rand(60, 8, generator=generator(7))
    y = model(x).argmax(1)
    x, y = x[y != 2], y[y != 2]
    found = attack(made, target(model, Box(-9.0, 9.0)), x, y, Threat(set, Targeted(2)))
    assert found.broken.all()


def fewest(model: Affine, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """How many features a linear model of two classes has to lose: the best go first, each to the end of the box."""
    apart = (model.weight[1 - y] - model.weight[y]).double()
    scores = x.double() @ model.weight.T.double() + model.bias.double()
    rows = torch.arange(len(x))
    lead = scores[rows, y] - scores[rows, 1 - y]
    gain = torch.maximum(apart * (1 - x), -apart * x).sort(dim=1, descending=True).values.cumsum(1)
    return 1 + (gain < lead.unsqueeze(1)).sum(1).double()


@pytest.mark.parametrize("made", [FMN(), SigmaZero(steps=300)], ids=lambda made: type(made).__name__)
def test_no_fewer_features_would_do(made) -> None:
    w = 1 + 0.5 * torch.rand(12, generator=generator(1))
    model = Affine(torch.stack([-w, w]), torch.stack([w.sum() / 2, -w.sum() / 2]))
    x = 0.4 * torch.rand(60, 12, generator=generator(7))
    y = model(x).argmax(1)
    found = attack(made, target(model), x, y, Threat(L0(math.inf)))
    best = fewest(model, x, y)
    assert 2 < best.max() < 12
    assert (found.distance >= best).all()
    assert (found.distance == best).double().mean() >= 0.9


def test_ddn_ends_at_the_nearest_class_on_either_objective() -> None:
    """Cross-entropy weighs all near rivals, but of scores that spread as is ordinary it weighs the nearest most."""
    model = affine(8, 5)
    x, y = examples(model)
    ratio = {
        objective: (
            attack(
                DDN(objective=objective, far=objective), target(model, Box(-9.0, 9.0)), x, y, Threat(FREE["l2"])
            ).distance
            / model.distances(x, y, "l2")
        ).median()
        for objective in (cross_entropy, DDN().objective)
    }
    assert max(ratio.values()) <= 1.005


@pytest.mark.parametrize("set", [*FREE.values(), L0(math.inf)], ids=lambda s: s.name)
def test_values_on_the_edge_of_the_box_do_not_stop_fmn(set: PerturbationSet) -> None:
    model = affine(20)
    x = torch.rand(100, 20, generator=generator(3)).round()
    y = model(x).argmax(1)
    assert attack(FMN(), target(model), x, y, Threat(set)).broken.all()


@pytest.mark.parametrize(
    "made", [DeepFool(), FMN(steps=20), DDN(steps=20), FAB(steps=10)], ids=lambda m: type(m).__name__
)
def test_what_an_example_costs_does_not_depend_on_the_others(made: Attack) -> None:
    model = relu_net((8,)).double()
    x = torch.rand(20, 8, generator=generator(2), dtype=torch.float64)
    asked = target(model)
    y = asked.labels(x)
    together = attack(made, asked, x, y, Threat(L2(math.inf)))
    for i in range(0, len(x), 3):
        alone = attack(made, asked, x[i : i + 1], y[i : i + 1], Threat(L2(math.inf)))
        assert alone.queries.item() == together.queries[i].item()
        assert alone.gradients.item() == together.gradients[i].item()
        torch.testing.assert_close(alone.distance[0], together.distance[i], rtol=1e-3, atol=1e-6)


def test_deepfool_pays_a_gradient_for_each_rival_it_weighs() -> None:
    model = affine(8, 5)
    x, y = examples(model)
    found = attack(DeepFool(classes=3), target(model, Box(-9.0, 9.0)), x, y, Threat(FREE["l2"]))
    assert (found.gradients == 3 * (found.queries - 1)).all()


@pytest.mark.parametrize("about", [{"steps": 0}, {"step": 0}, {"smoothing": 0}, {"threshold": -1}])
def test_settings_that_sigma_zero_cannot_have_are_refused(about) -> None:
    with pytest.raises(UsageError):
        SigmaZero(**about)


@pytest.mark.parametrize("about", [{"steps": 0}, {"step": 0}, {"rate": 0}, {"ratio": 0}])
def test_settings_that_pdpgd_cannot_have_are_refused(about) -> None:
    with pytest.raises(UsageError):
        PDPGD(**about)


def test_fmn_aimed_at_every_class_is_exact_for_every_example() -> None:
    model = affine(8, 8)
    x, y = examples(model)
    found = attack(FMN(targets=7), target(model, Box(-9.0, 9.0)), x, y, Threat(FREE["linf"]))
    assert (found.distance / model.distances(x, y, "linf")).max() <= 1.005
    assert (found.gradients == 7 * 100).all()
