"""Where gradients are taken, and how they are joined: against the formulas, and against each other."""

import pytest
import torch
from torch.nn import functional

from brinell.errors import UsageError
from brinell.evasion import (
    APGD,
    EOT,
    PGD,
    Hunt,
    InputDiversity,
    Modifier,
    Momentum,
    Nesterov,
    ScaleInvariant,
    TranslationInvariant,
    VarianceTuned,
    attack,
    cross_entropy,
    margin,
)
from brinell.evasion.gradient.diversity import resized
from brinell.evasion.gradient.modifier import asking, here
from brinell.threat import L2, Linf, Threat
from models import UNIT, Of, affine, generator, noisy, relu_net, target

WIDE = Linf(0.2, UNIT)


def calm(shape=(6,), n=8, dtype=torch.float64):
    """A model and examples that a small radius does not break."""
    model = relu_net(shape, seed=5).to(dtype)
    x = 0.5 + 0.2 * (torch.rand(60, *shape, generator=generator(3), dtype=dtype) - 0.5)
    scores = model(x).detach()
    top = scores.sort(1).values
    rows = (top[:, -1] - top[:, -2]).argsort(descending=True)[:n]
    return model, x[rows], scores.argmax(1)[rows]


def gradient(model, y, place, x):
    """By x, of the cross-entropy at place(x)."""
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(cross_entropy(model(place(leaf)), y, None).sum(), leaf)
    return g


def asked(model, x, y, *modifiers: Modifier, set=WIDE, place=here, seed=0):
    hunt = Hunt(target(model), x, y, Threat(set), generator(seed))
    hunt.require_margin(torch.inf)  # nothing breaks, so that all rows come back
    answer = asking(hunt, cross_entropy, modifiers)(place)
    return (*answer, hunt)


def test_without_modifiers_it_is_the_gradient_at_x() -> None:
    model, x, y = calm()
    value, g, hunt = asked(model, x, y)
    torch.testing.assert_close(g, gradient(model, y, here, x))
    torch.testing.assert_close(value, cross_entropy(model(x), y, None).detach())
    assert (hunt.gradients == 1).all()


def test_elsewhere_it_is_taken_back_by_the_chain_rule() -> None:
    model, x, y = calm()

    def place(z):
        return 0.3 + 0.5 * z.square()

    value, g, hunt = asked(model, x, y, place=place)
    torch.testing.assert_close(g, gradient(model, y, place, x))
    torch.testing.assert_close(value, cross_entropy(model(place(x)), y, None).detach())
    assert (hunt.gradients == 1).all()


def test_scaled_copies_are_equation_8_of_their_paper() -> None:
    model, x, y = calm()
    _, g, hunt = asked(model, x, y, ScaleInvariant(4))
    expected = sum(gradient(model, y, lambda z, k=k: z / 2**k, x) for k in range(4)) / 4
    torch.testing.assert_close(g, expected)
    assert (hunt.gradients == 4).all()


def test_smoothing_is_a_convolution_of_every_channel() -> None:
    model, x, y = calm((2, 5, 7))
    _, g, hunt = asked(model, x, y, TranslationInvariant(3, 1.0))
    row = torch.tensor([-0.5, 0.0, -0.5]).double().exp()
    kernel = (row / row.sum()).outer(row / row.sum()).expand(2, 1, 3, 3)
    plain = gradient(model, y, here, x)
    torch.testing.assert_close(g, functional.conv2d(plain, kernel, padding=1, groups=2))
    assert (hunt.gradients == 1).all()


@pytest.mark.parametrize("shape", [(6,), (1,), (4, 3), (3, 4, 4), (1, 2, 3, 2)], ids=str)
def test_smoothing_by_one_place_is_none(shape) -> None:
    model, x, y = calm(shape)
    torch.testing.assert_close(asked(model, x, y, TranslationInvariant(1))[1], gradient(model, y, here, x))


@pytest.mark.parametrize("side", [8, 7])
def test_a_resized_image_is_interpolated_and_lies_where_it_was_put(side) -> None:
    image = torch.rand(1, 3, side, side, generator=generator(), dtype=torch.float64)
    smallest = int(0.5 * side)
    for length in range(smallest, side + 1):
        for top in range(side - length + 1):
            for left in range(side - length + 1):
                size = torch.tensor([(length - smallest + 0.5) / (side - smallest + 1)], dtype=torch.float64)
                at = [torch.tensor([(k + 0.5) / (side - length + 1)], dtype=torch.float64) for k in (top, left)]
                small = functional.interpolate(image, size=(length, length), mode="bilinear", align_corners=False)
                over = side - length
                expected = functional.pad(small, (left, over - left, top, over - top))
                torch.testing.assert_close(resized(image, 0.5, size, *at), expected)


def test_diversity_changes_as_many_as_its_chance_says_each_on_its_own() -> None:
    x = torch.rand(1, 1, 10, 10, generator=generator(), dtype=torch.float64).expand(2000, -1, -1, -1)
    seen = InputDiversity(chance=0.3, least=0.6)._seen(x, generator(1))
    changed = ((seen - x).abs() > 1e-9).flatten(1).any(1)
    # A fifth of those that are changed are drawn at full size, and stay as they are.
    assert abs(float(changed.double().mean()) - 0.3 * 4 / 5) < 0.04
    assert len(seen[changed].flatten(1).unique(dim=0)) > 30
    assert torch.equal(InputDiversity(chance=0.0)._seen(x, generator(1)), x)


def test_a_diverse_gradient_is_that_of_what_was_seen() -> None:
    model, x, y = calm((1, 6, 6))
    made = InputDiversity(chance=1.0, least=0.5)
    _, g, _ = asked(model, x, y, made, seed=4)
    torch.testing.assert_close(g, gradient(model, y, lambda z: made._seen(z, generator(4)), x))


def test_tuning_is_algorithm_1_of_its_paper() -> None:
    """Around examples far from the ends of the box, with the same draws."""
    model, x, y = calm()
    made, steps, step = VarianceTuned(neighbours=3, spread=1.5), 5, 0.02
    set = Linf(0.1, UNIT)
    hunt = Hunt(target(model), x, y, Threat(set), generator(7))
    hunt.require_margin(torch.inf)
    PGD(steps=steps, step=step, random=False, rule=Momentum(1.0), modifiers=(made,))(hunt)

    rng = generator(7)
    z, v, m = x, torch.zeros_like(x), torch.zeros_like(x)
    for _ in range(steps):
        g = gradient(model, y, here, z)
        m = m + (g + v) / (g + v).abs().sum(1, keepdim=True)
        around = torch.zeros_like(x)
        for _ in range(3):
            noise = 1.5 * 0.1 * (2 * torch.rand(x.shape, generator=rng, dtype=x.dtype) - 1)
            around += gradient(model, y, lambda p, r=noise: p + r, z)
        v = around / 3 - g
        z = torch.clamp(z + step * m.sign(), x - 0.1, x + 0.1)
    torch.testing.assert_close(hunt.x, z, rtol=0, atol=1e-9)
    assert (hunt.gradients == steps * 4).all()


def test_nesterov_is_the_authors_code() -> None:
    """Momentum of gradients over their mean size, each taken a step ahead."""
    model, x, y = calm()
    set, steps, step, decay = Linf(0.1, UNIT), 6, 0.02, 0.8
    hunt = Hunt(target(model), x, y, Threat(set), generator())
    hunt.require_margin(torch.inf)
    PGD(steps=steps, step=step, random=False, rule=Nesterov(decay))(hunt)
    z, m = x, torch.zeros_like(x)
    for _ in range(steps):
        g = gradient(model, y, lambda p, m=m: p + step * decay * m, z)
        m = decay * m + g / g.abs().mean(1, keepdim=True)
        z = torch.clamp(z + step * m.sign(), x - 0.1, x + 0.1)
    torch.testing.assert_close(hunt.x, z, rtol=0, atol=1e-9)
    assert (hunt.gradients == steps).all()


def test_nesterov_looks_as_far_ahead_as_the_next_move_at_first() -> None:
    """After one gradient the momentum alone would lead on by decay * step, in any set."""
    model, x, y = calm(dtype=torch.float32)
    seen = []
    spy = Of(lambda z: (seen.append(z.detach()), model(z))[1])
    set = L2(0.3, UNIT)
    hunt = Hunt(target(spy), x, y, Threat(set), generator())
    hunt.require_margin(torch.inf)
    PGD(steps=2, step=0.05, random=False, rule=Nesterov(0.9))(hunt)
    first, second = seen[1], seen[2]
    torch.testing.assert_close(first, x)
    torch.testing.assert_close((second - x).norm(dim=1), torch.full((len(x),), 0.05 * 1.9, dtype=x.dtype))


def test_an_expectation_is_the_mean_over_draws_of_the_view() -> None:
    model, x, y = calm()

    def jitter(z, rng):
        return z * (1 + 0.1 * torch.randn(z.shape, generator=rng, dtype=z.dtype))

    _, g, hunt = asked(model, x, y, EOT(5, jitter), seed=2)
    rng = generator(2)
    expected = sum(gradient(model, y, lambda z: jitter(z, rng), x) for _ in range(5)) / 5
    torch.testing.assert_close(g, expected)
    assert (hunt.gradients == 5).all()


def test_more_draws_quiet_a_noisy_target() -> None:
    """What two streams of chance make of the same gradient comes together."""
    inner, x, y = calm(dtype=torch.float32)

    def apart(draws: int) -> float:
        one, two = (asked(noisy(inner, 0.02, seed), x, y, EOT(draws))[1] for seed in (0, 10_000))
        return float((one - two).norm())

    assert apart(200) < 0.4 * apart(4)


def test_modifiers_stack_and_the_first_sees_the_input_first() -> None:
    """Scaled, then seen through a square: squares of halves, not halves of squares."""
    model, x, y = calm()
    square = EOT(1, lambda z, rng: z.square())
    _, g, hunt = asked(model, x, y, ScaleInvariant(2), square)
    expected = (gradient(model, y, lambda z: z.square(), x) + gradient(model, y, lambda z: (z / 2).square(), x)) / 2
    torch.testing.assert_close(g, expected)
    _, g, _ = asked(model, x, y, square, ScaleInvariant(2))
    other = (gradient(model, y, lambda z: z.square(), x) + gradient(model, y, lambda z: z.square() / 2, x)) / 2
    torch.testing.assert_close(g, other)
    assert (hunt.gradients == 2).all()


@pytest.mark.parametrize("attack_", [PGD, APGD], ids=lambda a: a.__name__)
def test_examples_may_fall_between_the_questions_of_one_gradient(attack_) -> None:
    """A third of them falls to a view, at different questions: nobody else's gradient is mixed up."""
    made = attack_(steps=6, modifiers=(ScaleInvariant(3),))
    model = affine(6, 3)
    x = torch.rand(200, 6, generator=generator(1))
    y = model(x).argmax(1)
    found = attack(made, target(model), x, y, Threat(Linf(0.15)))
    alone = [attack(made, target(model), x[i : i + 1], y[i : i + 1], Threat(Linf(0.15))).broken for i in range(30)]
    assert 0 < found.broken.sum() < 200
    assert len(found.queries.unique()) > 2
    assert float((torch.cat(alone) == found.broken[:30]).double().mean()) > 0.85  # other random starts


def test_a_single_lucky_draw_breaks() -> None:
    model, x, y = calm(dtype=torch.float32)
    hunt = Hunt(target(noisy(model, 50.0)), x, y, Threat(Linf(1e-3, UNIT)), generator())
    before = len(hunt)
    asking(hunt, margin, (EOT(20),))(here)
    assert len(hunt) < before


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: ScaleInvariant(0), "copies is 0"),
        (lambda: EOT(0), "draws is 0"),
        (lambda: InputDiversity(chance=1.5), "chance is 1.5"),
        (lambda: InputDiversity(least=0.0), "least is 0.0"),
        (lambda: TranslationInvariant(0), "length is 0"),
        (lambda: TranslationInvariant(3, 0.0), "deviations is 0.0"),
        (lambda: VarianceTuned(0), "neighbours is 0"),
        (lambda: VarianceTuned(1, 0.0), "spread is 0.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(made, message) -> None:
    with pytest.raises(UsageError, match=message):
        made()
