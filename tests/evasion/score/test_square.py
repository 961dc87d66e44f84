import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion import Hunt, Square, attack, margin
from brinell.evasion.score.image import as_image
from brinell.evasion.score.square import _L2, _Linf, _pyramids, _sides, _span, _window
from brinell.threat import L2, Box, Linf, PerturbationSet, Threat
from models import UNIT, constant, generator, relu_net, target


def test_the_schedule_halves_the_share_at_the_papers_queries_stretched_to_the_budget() -> None:
    full = Square(queries=10_000)
    shares = [full._share_at(q) for q in (1, 11, 12, 51, 52, 201, 202, 8001, 8002, 9999)]
    assert shares == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1, 0.8 / 256, 0.8 / 512, 0.8 / 512])
    short = Square(queries=100)
    assert [short._share_at(q) for q in (1, 2, 3, 4, 99)] == pytest.approx([0.8, 0.2, 0.2, 0.1, 0.8 / 512])


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((7,), (1, 1, 7)),
        ((4, 5), (1, 4, 5)),
        ((3, 4, 5), (3, 4, 5)),
        ((3, 1, 5), (3, 1, 5)),
        ((3, 5, 1), (3, 1, 5)),
        ((1, 6), (1, 1, 6)),
        ((6, 1), (1, 1, 6)),
        ((2, 3, 2, 2), (1, 1, 24)),
    ],
)
def test_every_shape_is_anas_image(shape, image) -> None:
    x = torch.rand(2, *shape, generator=generator())
    assert as_image(x).shape == (2, *image)
    assert torch.equal(as_image(x).reshape(x.shape), x)
    assert as_image(x[:0]).shape == (0, *image)


def test_a_window_has_about_its_share_of_the_features() -> None:
    assert _sides(0.8, 28, 28) == (25, 25)
    assert _sides(0.01, 28, 28) == (3, 3)
    assert _sides(1e-9, 28, 28) == (1, 1)
    assert _sides(1.0, 4, 9) == (4, 4)
    assert _sides(0.5, 1, 10) == (1, 5)
    assert _sides(1e-9, 1, 10) == (1, 1)


def test_windows_may_touch_every_edge_and_no_more() -> None:
    rng = generator()
    like = torch.zeros(1)
    spans = _span(400, 6, 2, like, rng)
    assert (spans.sum(1) == 2).all()
    assert spans.any(0).all()
    places = _window(400, 4, 6, 2, 3, like, rng)
    assert places.shape == (400, 2, 3)
    assert sorted(places.flatten().unique().tolist()) == list(range(24))
    rows, columns = places // 6, places % 6
    assert (rows[:, 1] - rows[:, 0] == 1).all()
    assert (columns[:, :, 2] - columns[:, :, 0] == 2).all()


def test_the_pyramids_of_equation_2() -> None:
    """For 3 by 3: one row up, two rows down; a place m from its middle holds the sum of 1 / j^2 over j > m."""
    eta = _pyramids(3, 3, torch.zeros(1, dtype=torch.float64))
    near, far = 1 + 1 / 4, 1 / 4
    raw = torch.tensor([[far, near, far], [-far, -far, -far], [-far, -near, -far]], dtype=torch.float64)
    torch.testing.assert_close(eta, raw / raw.norm())
    segment = _pyramids(1, 4, torch.zeros(1, dtype=torch.float64))
    raw = torch.tensor([[far, near, -far, -near]], dtype=torch.float64)
    torch.testing.assert_close(segment, raw / raw.norm())
    assert _pyramids(1, 1, torch.zeros(1)).abs().item() == 1


def test_linf_starts_from_stripes_and_jumps_from_face_to_face() -> None:
    x0 = torch.full((50, 3, 6, 6), 0.5)
    start = _Linf().start(x0, 0.1, generator())
    assert torch.equal(start, start[:, :, :1, :].expand_as(start))
    torch.testing.assert_close((start - x0).abs(), torch.full_like(x0, 0.1))
    new = _Linf().next(x0, start, 0.1, 0.25, generator(1))
    torch.testing.assert_close((new - x0).abs(), torch.full_like(x0, 0.1))
    changed = (new != start).any(1).flatten(1).sum(1)
    assert changed.max() <= 9
    assert changed.float().mean() > 2
    assert len({tuple(row.flatten().tolist()) for row in (new != start).any(1)}) > 10  # windows of their own


@pytest.mark.parametrize("shape", [(3, 7, 7), (1, 4, 9), (1, 1, 12), (2, 1, 5), (1, 2, 2), (1, 1, 1)])
def test_l2_keeps_the_whole_length(shape) -> None:
    """Algorithm 3 spends what the ball allows: every proposal has length radius before the box."""
    x0 = torch.rand(20, *shape, generator=generator(), dtype=torch.float64)
    rng = generator(1)
    best = _L2().start(x0, 0.7, rng)
    for share in (0.8, 0.3, 0.05):
        torch.testing.assert_close((best - x0).flatten(1).norm(dim=1), torch.full((20,), 0.7, dtype=x0.dtype))
        new = _L2().next(x0, best, 0.7, share, rng)
        assert new.isfinite().all()
        best = new
    clipped = x0 + 0.5 * (best - x0)  # as if the box had taken half: the rest is found again
    new = _L2().next(x0, clipped, 0.7, 0.3, rng)
    assert ((new - x0).flatten(1).norm(dim=1) > 0.4).all()


@pytest.mark.parametrize("set", [Linf(0.05, UNIT), L2(0.3, UNIT)], ids=lambda s: s.name)
def test_the_best_margin_never_falls(set) -> None:
    model = relu_net((2, 6, 6))
    x = torch.rand(10, 2, 6, 6, generator=generator())
    y = model(x).argmax(1)
    asked = []

    def spy(scores, y, aim):
        asked.append(margin(scores, y, aim))
        return asked[-1]

    hunt = Hunt(target(model), x, y, Threat(set.resized(0.01)), generator())
    Square(queries=60, objective=spy)(hunt)
    assert len(asked) == 60
    stood = [v for v in asked if len(v) == len(asked[-1])]
    best = torch.stack(stood).cummax(0).values
    assert (best[-1] > best[0]).float().mean() > 0.5


def test_it_spends_its_queries_and_one_look() -> None:
    x = torch.rand(3, 4, generator=generator())
    found = attack(Square(queries=17), target(constant(1.0, 0.0)), x, torch.zeros(3).long(), Threat(Linf(0.1)))
    assert found.queries.tolist() == [18] * 3
    assert found.gradients.tolist() == [0] * 3


def test_another_set_is_refused_by_name() -> None:
    class Elsewhere(PerturbationSet):
        name = "l1"
        radius = 1.0
        box = UNIT

        def within(self, box: Box):
            return self

        def resized(self, radius):
            return self

        def distance(self, x0, x):
            return (x - x0).double().abs().flatten(1).sum(1)

        def project(self, x0, x):
            return x0

        def sample(self, x0, rng):
            return x0

        def steepest(self, g):
            return g

        def hull(self, x0):
            return x0, x0

        def minimum(self, x0, a):
            return a.sum()

    x = torch.rand(3, 4, generator=generator())
    with pytest.raises(UsageError, match="Square has no moves for the set 'l1'; it knows linf and l2"):
        attack(Square(), target(constant(1.0, 0.0)), x, torch.zeros(3).long(), Threat(Elsewhere()))


@pytest.mark.parametrize(
    ("about", "message"),
    [({"queries": 0}, "queries is 0"), ({"share": 0.0}, "share is 0"), ({"share": 2.0}, "share is 2")],
)
def test_settings_that_cannot_be_are_refused(about, message) -> None:
    with pytest.raises(UsageError, match=message):
        Square(**about)
