"""Names: which parts each of the published methods is made of, and that the parts do what the names promise."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from brinell.evasion import (
    BIM,
    DIFGSM,
    EOT,
    EOTPGD,
    FGSM,
    MIFGSM,
    NIFGSM,
    PGD,
    SINIFGSM,
    SLIDE,
    TIFGSM,
    TPGD,
    VMIFGSM,
    Divergence,
    Hunt,
    InputDiversity,
    Momentum,
    Nesterov,
    ScaleInvariant,
    SparseStep,
    TranslationInvariant,
    VarianceTuned,
    attack,
    cross_entropy,
)
from brinell.threat import L2, LEAST_LIKELY, Linf, Targeted, Threat
from models import UNIT, generator, noisy, relu_net, target


def iterative(rule, *modifiers, steps=10) -> PGD:
    return PGD(steps=steps, rule=rule, modifiers=modifiers, random=False, travel=1.0)


@pytest.mark.parametrize(
    ("named", "parts"),
    [
        (MIFGSM(), iterative(Momentum(1.0))),
        (NIFGSM(), iterative(Nesterov(1.0))),
        (SINIFGSM(), iterative(Nesterov(1.0), ScaleInvariant(5))),
        (DIFGSM(), iterative(Momentum(0.0), InputDiversity(0.5))),
        (TIFGSM(), iterative(Momentum(1.0), TranslationInvariant(15))),
        (VMIFGSM(), iterative(Momentum(1.0), VarianceTuned(20, 1.5))),
        (TPGD(), PGD(steps=10, objective=Divergence())),
        (EOTPGD(), PGD(steps=40, modifiers=(EOT(10),))),
        (SLIDE(), PGD(steps=40, rule=SparseStep(0.01))),
    ],
    ids=["MIFGSM", "NIFGSM", "SINIFGSM", "DIFGSM", "TIFGSM", "VMIFGSM", "TPGD", "EOTPGD", "SLIDE"],
)
def test_a_name_stands_for_the_papers_parts_and_settings(named, parts) -> None:
    assert named == parts


def stubborn(n=30, shape=(1, 6, 6), size=0.02):
    """A network, and examples that moves of this size leave alone."""
    model = relu_net(shape, classes=4, seed=1)
    x = 0.3 + 0.4 * torch.rand(200, *shape, generator=generator(8))
    top = model(x).detach().sort(1)
    rows = (top.values[:, -1] - top.values[:, -2]).argsort(descending=True)[:n]
    return model, x[rows], top.indices[rows, -1]


@pytest.mark.parametrize("made", [MIFGSM, NIFGSM, SINIFGSM, DIFGSM, TIFGSM, VMIFGSM], ids=lambda f: f.__name__)
@pytest.mark.parametrize("set", [Linf(1e-3, UNIT), L2(2e-3, UNIT)], ids=lambda s: s.name)
def test_the_steps_of_those_made_for_transfer_reach_the_edge_and_no_farther(made, set) -> None:
    model, x, y = stubborn()
    for steps in (1, 5):
        hunt = Hunt(target(model), x, y, Threat(set), generator())
        hunt.require_margin(torch.inf)
        made(steps=steps)(hunt)
        travelled = float(set.distance(x, hunt.x).max())
        assert travelled <= set.radius
        if steps == 1:
            torch.testing.assert_close(travelled, set.radius, rtol=1e-3, atol=0)


def test_fgsm_leaves_the_label_or_heads_for_a_class() -> None:
    """Both signs of the paper, and of its targeted form: one step, by the goal alone."""
    model, x, y = stubborn()
    scores = model(x).detach()
    least = scores.argmin(1)

    def stepped(goal) -> torch.Tensor:
        hunt = Hunt(target(model), x, y, Threat(Linf(1e-3, UNIT), **goal), generator())
        hunt.require_margin(torch.inf)
        FGSM()(hunt)
        return hunt.x

    def slope(labels) -> torch.Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(functional.cross_entropy(model(leaf), labels, reduction="sum"), leaf)[0]

    away, toward = stepped({}), stepped({"goal": LEAST_LIKELY})
    torch.testing.assert_close(away, x + 1e-3 * slope(y).sign(), rtol=0, atol=1e-6)
    torch.testing.assert_close(toward, x - 1e-3 * slope(least).sign(), rtol=0, atol=1e-6)


def test_steps_toward_the_least_likely_class_get_there_where_one_does_not() -> None:
    """The iterative least-likely class method is BIM under that goal."""
    model, x, y = stubborn()
    threat = Threat(Linf(0.6), LEAST_LIKELY)
    one, many = (attack(made, target(model), x, y, threat).broken for made in (FGSM(), BIM(steps=40)))
    assert many.all()
    assert (one & ~many).sum() == 0


def test_a_divergence_is_torchs_kl_and_is_flat_at_the_clean_input() -> None:
    rng = generator(1)
    clean = 3 * torch.randn(20, 5, generator=rng, dtype=torch.float64)
    now = (clean + torch.randn(20, 5, generator=rng, dtype=torch.float64)).requires_grad_()
    y = clean.argmax(1)
    value = Divergence().to(clean)(now, y, None)
    expected = functional.kl_div(now.log_softmax(1), clean.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(value, expected)
    assert (value > 0).all()
    same = clean.clone().requires_grad_()
    (g,) = torch.autograd.grad(Divergence().to(clean)(same, y, None).sum(), same)
    assert g.abs().max() < 1e-12
    aim = (y + 1) % 5
    torch.testing.assert_close(Divergence().to(clean)(now, y, aim), cross_entropy(now, y, aim))


def test_tpgd_gets_farther_from_the_clean_answer_than_where_it_starts() -> None:
    model, x, y = stubborn()
    divergence = Divergence().to(model(x).detach())
    ends = []
    for search in (lambda hunt: hunt.sample(), TPGD()):
        hunt = Hunt(target(model), x, y, Threat(Linf(0.05, UNIT)), generator(3))
        hunt.require_margin(torch.inf)
        search(hunt)
        ends.append(divergence(model(hunt.x).detach(), y, None))
    assert (ends[1] > 2 * ends[0]).all()


def test_a_divergence_finds_its_rows_when_examples_fall() -> None:
    """In chunks, at several points at once, and after others have left."""
    model, x, y = stubborn()
    hunt = Hunt(target(model), x, y, Threat(Linf(0.01, UNIT)), generator())
    hunt.drop(torch.arange(len(x)) % 3 == 0)
    rows = torch.arange(len(x)) % 3 != 0
    points = torch.stack([x[rows] + 0.004, x[rows] - 0.004])
    value, _ = hunt.probe_gradient(points, Divergence())
    for k in range(2):
        truth = Divergence().to(model(x[rows]).detach())(model(points[k]).detach(), y[rows], None)
        torch.testing.assert_close(value[k], truth)


def test_averaged_passes_break_a_noisy_target_that_single_ones_do_not() -> None:
    """Noise on the scores that drowns one gradient, at the same number of steps."""

    class Shaky(nn.Module):
        """Features are lost at random, differently in every pass and row."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.calls = inner, 0

        def forward(self, x):
            self.calls += 1
            mask = torch.rand(x.shape, generator=generator(self.calls)) < 0.15
            return self.inner(0.5 + (x - 0.5) * mask / 0.15)

    model, x, y = stubborn(40, (1, 8, 8))

    def left(made) -> float:
        """The mean lead of the label after the attack, without the chance."""
        hunt = Hunt(target(Shaky(model)), x, y, Threat(Linf(0.05, UNIT)), generator())
        hunt.require_margin(torch.inf)
        made(hunt)
        scores = model(hunt.x).detach()
        own = scores.gather(1, y[hunt.rows, None])
        return float((own - scores.scatter(1, y[hunt.rows, None], -torch.inf).amax(1, keepdim=True)).mean())

    assert left(EOTPGD(draws=16, steps=6)) < left(EOTPGD(draws=1, steps=6))


@pytest.mark.parametrize(
    "made",
    [MIFGSM(), NIFGSM(), SINIFGSM(), DIFGSM(), VMIFGSM(neighbours=4)],
    ids=["momentum", "nesterov", "scaled", "diverse", "tuned"],
)
def test_a_given_class_is_headed_for(made) -> None:
    model, x, y = stubborn()
    x, y = x[y != 2], y[y != 2]
    found = attack(made, target(model), x, y, Threat(Linf(0.5), Targeted(2)))
    assert found.broken.float().mean() > 0.8
    assert (target(model).labels(found.x[found.broken]) == 2).all()


def test_a_noisy_model_leaves_every_point_in_the_set() -> None:
    model, x, y = stubborn()
    found = attack(EOTPGD(steps=5, draws=3), target(noisy(model, 0.1)), x, y, Threat(Linf(0.05)))
    assert Linf(0.05, UNIT).contains(x, found.x).all()
