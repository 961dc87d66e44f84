import pytest
import torch
from torch import nn

from brinell.evasion import NES, SPSA, Bandits, Hunt, attack
from brinell.evasion.adam import Adam
from brinell.evasion.score import population
from brinell.evasion.score.estimate import estimator, gaussian, rademacher
from brinell.threat import REALS, Linf, Threat
from models import Of, constant, generator, target


def quadratic(features: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Class 1 scores b x + x A x, class 0 scores a thousand."""
    rng = generator(7)
    a = torch.randn(features, features, generator=rng, dtype=torch.float64) / features
    b = torch.randn(features, generator=rng, dtype=torch.float64)

    def scores(x: torch.Tensor) -> torch.Tensor:
        x = x.double()
        value = x @ b + torch.einsum("ni,ij,nj->n", x, a, x)
        return torch.stack([torch.full_like(value, 1000.0), value], 1)

    return Of(scores), a, b


def second(scores, y, aim):
    return scores[:, 1]


def hunting(model, x, budget=None, set=None) -> Hunt:
    y = torch.zeros(len(x), dtype=torch.int64)
    threat = Threat(set or Linf(10.0), queries=budget).within(REALS)
    return Hunt(target(model, REALS), x, y, threat, generator(3))


@pytest.mark.parametrize("draw", [gaussian, rademacher])
def test_the_estimate_is_the_gradient_of_a_quadratic_in_the_mean_and_nears_it_with_queries(draw) -> None:
    model, a, b = quadratic(10)
    x = torch.randn(4, 10, generator=generator(), dtype=torch.float64)
    hunt = hunting(model, x)
    true = hunt.unit * (b + x @ (a + a.T))
    estimate = estimator(hunt, second, draw, 0.01)
    cosines = []
    for pairs in (4, 40, 4000):
        g = estimate(pairs)
        cosines.append(torch.cosine_similarity(g, true).mean().item())
    assert cosines == sorted(cosines)
    assert cosines[-1] > 0.99
    torch.testing.assert_close(g, true, rtol=0, atol=0.25 * hunt.unit)
    assert hunt.queries.tolist() == [1 + 2 * 4044] * 4


def test_a_feature_at_an_end_of_its_interval_is_estimated_by_half() -> None:
    model, a, b = quadratic(6)
    x0 = torch.zeros(1, 6, dtype=torch.float64)
    hunt = hunting(model, x0, set=Linf(0.1))
    hunt.move(x0 + torch.tensor([1.0, -1, 0, 0, 0, 0]))
    true = hunt.unit * (b + hunt.unit * hunt.x @ (a + a.T))[0]
    g = estimator(hunt, second, rademacher, 0.001)(20_000)[0]
    share = torch.tensor([0.5, 0.5, 1, 1, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(g, share * true, rtol=0, atol=0.1 * hunt.unit)


def test_blocks_bound_a_question_and_change_no_count(monkeypatch) -> None:
    model, _, b = quadratic(6)
    x = torch.zeros(3, 6, dtype=torch.float64)
    asked = []
    monkeypatch.setattr(population, "BLOCK", 3 * 6 * 8)
    hunt = hunting(model, x)
    probe = hunt.probe
    monkeypatch.setattr(hunt, "probe", lambda points: asked.append(len(points)) or probe(points))
    g = estimator(hunt, second, gaussian, 0.01)(50)
    assert max(asked) == 8
    assert sum(asked) == 100
    assert torch.cosine_similarity(g, b.expand(3, -1)).min() > 0.8


@pytest.mark.parametrize(
    "made", [NES(pairs=8, steps=50), SPSA(pairs=8, steps=50), Bandits(steps=50)], ids=lambda made: type(made).__name__
)
def test_what_is_left_of_a_budget_is_spent_and_no_more(made) -> None:
    x = torch.rand(3, 4, generator=generator())
    threat = Threat(Linf(0.1), queries=28)
    found = attack(made, target(constant(1.0, 0.0)), x, torch.zeros(3).long(), threat)
    assert found.queries.tolist() == [28] * 3
    assert found.gradients.tolist() == [0] * 3


def test_adam_steps_by_its_length_along_the_sign_first_and_leaves_the_others() -> None:
    adam = Adam.none(torch.zeros(2, 3))
    g = torch.tensor([[1e-6, -2.0, 0.0], [5.0, 1.0, -1.0]])
    torch.testing.assert_close(adam.step(g), g.sign(), rtol=0.02, atol=0.02)
    taken = torch.tensor([[True, False, False]]).expand(2, 3)
    step = adam.step(g, taken)
    assert (step[:, 1:] == 0).all()
    assert adam.count[0].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    "made", [NES(steps=60), SPSA(steps=60), Bandits(steps=800, step=0.05)], ids=lambda m: type(m).__name__
)
def test_a_linear_model_is_broken_just_above_its_distance(made) -> None:
    rng = generator(5)
    w = torch.randn(16, generator=rng)
    model = Of(lambda x: torch.stack([x.flatten(1) @ w, torch.zeros(len(x))], 1) * 3)
    x = torch.randn(20, 1, 4, 4, generator=rng) * 0.3
    x = x + (0.1 - (x.flatten(1) @ w)).reshape(-1, 1, 1, 1) * (w / w.square().sum()).reshape(1, 4, 4)
    distance = 0.1 / w.abs().sum().item()
    y = torch.zeros(20, dtype=torch.int64)
    for share, broken in ((1.15, True), (0.98, False)):
        found = attack(made, target(model, REALS), x, y, Threat(Linf(share * distance)))
        assert (found.broken == broken).float().mean() >= 0.9
