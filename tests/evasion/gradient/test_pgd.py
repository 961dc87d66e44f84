import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion import BIM, FGSM, PGD, Hunt, Momentum, attack, cross_entropy
from brinell.threat import L2, LEAST_LIKELY, Linf, Threat
from models import UNIT, Crooked, generator, relu_net, target


def gradient(model, x, y):
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(cross_entropy(model(leaf), y, None).sum(), leaf)
    return g


def stubborn(n=20):
    """Examples that a small radius does not break, so that every step is seen."""
    model = relu_net((6,))
    x = torch.rand(n, 6, generator=generator(8))
    y = model(x).argmax(1)
    scores = model(x).detach().sort(1).values
    keep = scores[:, -1] - scores[:, -2] > 0.1
    return model, x[keep], y[keep]


def last(made, model, x, y, set, **about):
    hunt = Hunt(target(model), x, y, Threat(set.within(UNIT), **about), generator())
    made(hunt)
    assert len(hunt) == len(x)
    return hunt.x


def test_fgsm_is_equation_3_of_its_paper() -> None:
    model, x, y = stubborn()
    expected = (x + 1e-3 * gradient(model, x, y).sign()).clamp(0, 1)
    torch.testing.assert_close(last(FGSM(), model, x, y, Linf(1e-3)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("set", [Linf(4e-3), L2(8e-3)], ids=lambda s: s.name)
def test_bim_is_the_bare_loop(set) -> None:
    model, x, y = stubborn()
    z = x.clone()
    for _ in range(5):
        g = gradient(model, z, y)
        if set.name == "linf":
            z = torch.clamp(z + 2e-3 * g.sign(), x - 4e-3, x + 4e-3).clamp(0, 1)
        else:
            z = z + 2e-3 * g / g.norm(dim=1, keepdim=True)
            z = x + (z - x) * (8e-3 / (z - x).norm(dim=1, keepdim=True)).clamp(max=1)
            assert (z >= 0).all()
            assert (z <= 1).all()
    torch.testing.assert_close(last(BIM(steps=5, step=2e-3), model, x, y, set), z, rtol=0, atol=2e-6)


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_momentum_is_algorithm_1_of_its_paper(decay) -> None:
    model, set = Crooked(), L2(0.5, UNIT)
    x, y = torch.rand(5, 6, generator=generator(2), dtype=torch.float64), torch.zeros(5).long()
    z, m = x.clone(), torch.zeros_like(x)
    for _ in range(8):
        g = gradient(model, z, y)
        m = decay * m + g / g.abs().sum(1, keepdim=True)
        z = set.project(x, z + 0.1 * m / m.norm(dim=1, keepdim=True))
    made = PGD(steps=8, step=0.1, rule=Momentum(decay), random=False)
    torch.testing.assert_close(last(made, model, x, y, set), z, rtol=0, atol=1e-9)


def test_the_least_likely_class_is_neared() -> None:
    model, x, y = stubborn()
    aim = model(x).argmin(1)
    z = last(FGSM(), model, x, y, Linf(1e-3), goal=LEAST_LIKELY)
    assert (model(z).log_softmax(1).gather(1, aim[:, None]) > model(x).log_softmax(1).gather(1, aim[:, None])).all()


def test_a_step_is_never_longer_than_the_radius_by_itself() -> None:
    model, x, y = stubborn()
    z = last(PGD(steps=1, random=False), model, x, y, Linf(1e-3))
    assert (z - x).abs().max() <= 1e-3


@pytest.mark.parametrize(("steps", "restarts", "name"), [(0, 1, "steps"), (1, 0, "restarts")])
def test_counts_that_cannot_be_are_refused(steps, restarts, name) -> None:
    with pytest.raises(UsageError, match=f"{name} is 0; it must be at least 1"):
        PGD(steps=steps, restarts=restarts)


def test_a_given_step_works_without_a_radius() -> None:
    model, x, y = stubborn()
    found = attack(PGD(steps=30, step=0.1, random=False), target(model), x, y, Threat(Linf(float("inf"))))
    assert found.broken.float().mean() > 0.9
    assert (found.queries == 32).all()
