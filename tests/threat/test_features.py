"""Tables: what is allowed, how far it is, and which point is nearest."""

import math
from itertools import product
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import brinell
from brinell.errors import UsageError
from brinell.evasion import APGD, CW, FGSM, PGD, Noise
from brinell.proofs import ExactTrees, forest_of
from brinell.threat import Box, Features, Linf, Rules, Threat
from brinell.threat.rules import read_rules

NORMS = ("linf", "l1", "l2")
each_norm = pytest.mark.parametrize("norm", NORMS)


@st.composite
def tables(draw: st.DrawFn, norms: tuple[str, ...] = NORMS) -> tuple[Features, torch.Tensor, torch.Tensor]:
    """A set over 4 features alone and a category of 3; examples that keep its rules; points anywhere."""
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    flags = [draw(st.lists(st.booleans(), min_size=4, max_size=4)) for _ in range(3)]
    swap, cost = draw(st.booleans()), draw(st.sampled_from([0.5, 1.0, 2.0]))
    scale = [draw(st.sampled_from([0.1, 0.3, 1.0, 7.0])) for _ in range(4)]
    rules = Rules.of(
        7,
        scale=[*scale, cost, cost, cost],
        low=[-1.5, -inf, -2.0, -10.0, -inf, -inf, -inf],
        high=[1.5, inf, 2.5, 0.7, inf, inf, inf],
        up=[*flags[0], swap, swap, swap],
        down=[*flags[1], swap, swap, swap],
        whole=[*flags[2], False, False, False],
        groups=[[4, 5, 6]],
    )
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    n = 3
    x0 = 3 * torch.randn(n, 7, dtype=dtype, generator=rng)
    x0 = torch.where(rules.whole, x0.round(), x0)
    x0[:, 4:] = torch.eye(3, dtype=dtype)[torch.randint(0, 3, (n,), generator=rng)]
    x = x0 + draw(st.sampled_from([0.1, 1.0, 30.0])) * torch.randn(n, 7, dtype=dtype, generator=rng)
    radius = draw(st.sampled_from([0.0, 0.3, 1.0, 2.5, inf]))
    return Features(radius, rules, draw(st.sampled_from(norms))).within(Box(-100.0, 100.0)), x0.clamp(-100, 100), x


@settings(max_examples=30)
@given(tables())
def test_a_projection_keeps_the_rules_and_the_radius(case):
    set, x0, x = case
    z = set.project(x0, x)
    assert z.dtype == x.dtype
    assert set.contains(x0, z).all()
    assert set.contains(x0, x0).all()


@settings(max_examples=30)
@given(tables())
def test_a_projection_stays_where_it_is(case):
    set, x0, x = case
    z = set.project(x0, x)
    torch.testing.assert_close(set.project(x0, z), z, rtol=1e-6, atol=1e-5)


@settings(max_examples=30)
@given(tables(), st.floats(0, 1))
def test_samples_and_what_is_shrunk_are_inside(case, share):
    set, x0, _ = case
    z = set.sample(x0, torch.Generator().manual_seed(0))
    assert set.contains(x0, z).all()
    nearer = set.shrink(x0, z, torch.full((len(x0),), share, dtype=torch.float64))
    assert (set.distance(x0, nearer) <= share * set.distance(x0, z)).all()


@settings(max_examples=30)
@given(tables())
def test_the_hull_holds_every_projection(case):
    set, x0, x = case
    low, high = set.hull(x0)
    z = set.project(x0, x)
    assert ((low <= z) & (z <= high)).all()


@settings(max_examples=30)
@given(tables(norms=("linf",)))
def test_under_linf_no_allowed_point_is_nearer(case):
    """Each feature, and the category, on its own: the integers and categories one by one, the rest by the interval."""
    set, x0, x = case
    rules, z = set.rules, set.project(x0, x)
    for row in range(len(x0)):
        start, far = x0[row : row + 1], (lambda a, at=row: (a - x[at]).double().abs() / rules.scale)
        for feature in range(4):
            grid = torch.arange(-60.0, 61.0) if rules.whole[feature] else torch.linspace(-60, 60, 241)
            others = start.repeat(len(grid), 1)
            others[:, feature] = grid.to(x.dtype)
            better = far(others)[:, feature] < far(z[row])[feature] * (1 - 1e-4) - 1e-4
            assert not (better & set.contains(start.expand_as(others), others)).any()
        others = start.repeat(3, 1)
        others[:, 4:] = torch.eye(3)
        better = (others - x[row])[:, 4:].norm(dim=1) < (z - x)[row, 4:].norm() * (1 - 1e-5)
        assert not (better & set.contains(start.expand_as(others), others)).any()


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_without_integers_and_categories_no_point_of_the_ball_is_nearer(norm):
    rng = torch.Generator().manual_seed(0)
    rules = Rules.of(5, scale=[0.5, 1, 2, 3, 1], up=[1, 1, 0, 1, 0], down=[1, 1, 1, 0, 0], high=1.0)
    set = Features(1.0, rules, norm).within(Box(-5.0, 5.0))
    x0 = torch.rand(20, 5, dtype=torch.float64, generator=rng)
    x = x0 + 3 * torch.randn(20, 5, dtype=torch.float64, generator=rng)
    z = set.project(x0, x)
    for _ in range(200):
        q = set.sample(x0, rng)
        inner = ((x - z) / rules.scale * ((q - z) / rules.scale)).sum(1)
        assert (inner <= 1e-8).all()


@settings(max_examples=30)
@given(tables())
def test_the_closest_point_of_a_box_is_the_nearest_that_is_valid(case):
    set, x0, x = case
    free = set.resized(inf)
    low, high = free.hull(x0)
    cut_low, cut_high = torch.maximum(low, torch.minimum(x, x0 - 0.4)), torch.minimum(high, torch.maximum(x, x0 + 0.4))
    z = free.closest(x0, cut_low, cut_high)
    assert set.distance(x0, z).eq(0).all()  # x0 itself is in the box
    pushed = low.clone()
    pushed[:, :4] = torch.where(x0 + 0.4 <= high, torch.maximum(low, x0 + 0.4), low)[:, :4]
    beyond, whole = free.closest(x0, pushed, high), set.rules.whole[:4].expand(len(x0), 4)
    for z, start, least, most in zip(*(t[:, :4][~whole] for t in (beyond, x0, pushed, high)), strict=True):
        assert z == max(start, least) <= most
    for z, start, least, most in zip(*(t[:, :4][whole] for t in (beyond, x0, pushed, high)), strict=True):
        nearest = math.ceil(max(start, least))
        assert z == nearest if nearest <= most else z.isnan()


def test_a_rule_that_is_broken_is_infinitely_far():
    rules = Rules.of(6, up=[1, 0, 0, 1, 1, 1], down=[1, 1, 0, 1, 1, 1], whole=[1, 0, 0, 0, 0, 0], groups=[[3, 4, 5]])
    set = Features(inf, rules)
    x0 = torch.tensor([[3.0, 0.5, 0.5, 0, 1, 0]])
    allowed = [[4.0, 0.1, 0.5, 1, 0, 0], [3.0, 0.5, 0.5, 0, 0, 1]]
    broken = [[3.5, 0.5, 0.5, 0, 1, 0], [3, 0.6, 0.5, 0, 1, 0], [3, 0.5, 0.4, 0, 1, 0], [3, 0.5, 0.5, 1, 1, 0]]
    broken += [[3, 0.5, 0.5, 0, 0, 0], [3, 0.5, 0.5, 0, 0.5, 0.5], [3, 0.5, 0.5, 0, 1, float("nan")]]
    assert all(set.contains(x0, torch.tensor([x])).item() for x in allowed)
    assert not any(set.contains(x0, torch.tensor([x])).item() for x in broken)


def test_distances_are_in_units_of_each_feature():
    rules = Rules.of(5, scale=[2.0, 0.5, 0.25, 0.25, 0.25], groups=[[2, 3, 4]])
    x0, x = torch.tensor([[0.0, 0, 1, 0, 0]]), torch.tensor([[2.0, 1, 0, 0, 1]])
    assert [float(Features(1.0, rules, norm).distance(x0, x)) for norm in NORMS] == [4.0, 7.0, (1 + 4 + 16) ** 0.5]


def test_alone_it_is_the_ball_it_scales():
    """With one scale and no rules: the projection onto linf."""
    rng = torch.Generator().manual_seed(0)
    x0 = torch.rand(10, 6, generator=rng)
    x = x0 + torch.randn(10, 6, generator=rng)
    ball = Linf(0.1).within(Box(0.0, 1.0))
    torch.testing.assert_close(
        Features(1.0, Rules.of(6, scale=0.1)).within(ball.box).project(x0, x), ball.project(x0, x)
    )


def network(seed=0):
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=rng) / p.shape[-1] ** 0.25)
    return net


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=5), APGD(steps=10), Noise(draws=20), CW(searches=2, steps=20)])
@each_norm
def test_attacks_break_a_network_inside_the_rules(attack, norm):
    rng = torch.Generator().manual_seed(0)
    rules = Rules.of(6, scale=0.5, up=[1, 1, 0, 1, 1, 1], down=[1, 0, 0, 1, 1, 1], groups=[[3, 4, 5]])
    x = torch.rand(30, 6, generator=rng)
    x[:, 3:] = torch.eye(3)[torch.randint(0, 3, (30,), generator=rng)]
    target = brinell.target(network(), box=(-3.0, 3.0))
    threat = Threat(Features(2.5, rules, norm))
    found = brinell.attack(attack, target, x, target.labels(x), threat)
    assert found.broken.any()
    assert torch.equal(found.x[:, 2], x[:, 2])
    assert (found.x[:, 1] >= x[:, 1]).all()
    assert found.x[:, 3:].sum(1).eq(1).all()


@each_norm
def test_trees_are_settled_exactly_among_integers_and_categories(norm):
    """Against every combination of a grid that holds one point of each cell of the trees."""
    from sklearn.ensemble import GradientBoostingClassifier

    rng = np.random.default_rng(0)
    table = np.concatenate([rng.integers(0, 6, (400, 2)), np.eye(3)[rng.integers(0, 3, 400)]], 1).astype(np.float32)
    y = (table[:, 0] + 2 * table[:, 2] - table[:, 1] * table[:, 3] > 2.5).astype(int)
    target = brinell.target(GradientBoostingClassifier(n_estimators=6, random_state=0).fit(table, y), box=(0.0, 5.0))
    rules = Rules.of(5, scale=[1, 2, 1, 1, 1], whole=[1, 1, 0, 0, 0], up=[1, 0, 1, 1, 1], groups=[[2, 3, 4]])
    set = Features(inf, rules, norm).within(target.box)
    x, label = torch.from_numpy(table[:12]), target.labels(torch.from_numpy(table[:12]))
    found = ExactTrees()(forest_of(target), x, label, set)
    every = torch.tensor([[*ab, *c] for ab in product(range(6), repeat=2) for c in np.eye(3).tolist()])
    answers = target.labels(every)
    assert found.distance.isfinite().any()
    for row in range(len(x)):
        distances = set.distance(x[row : row + 1].expand(len(every), -1), every).where(answers != label[row], inf)
        assert found.distance[row] == distances.min()


RULES = """
norm = "l1"
[every]
scale = "spread"
[feature.age]
change = "up"
whole = true
scale = 2
high = 90
[feature.sex]
change = "none"
[category]
job = ["job_a", "job_b"]
"""
NAMES = ("age", "sex", "income", "job_a", "job_b")


def test_rules_are_read_from_a_file(tmp_path):
    (tmp_path / "rules.toml").write_text(RULES)
    x = torch.tensor([[30.0, 1, 2, 0, 1], [40, 0, 4, 1, 0]])
    rules, norm = read_rules(tmp_path / "rules.toml", NAMES, x)
    assert norm == "l1"
    assert rules.scale.tolist() == [2.0, 0.5, 1.0, 1.0, 1.0]
    assert (rules.up.tolist(), rules.down.tolist()) == (
        [True, False, True, True, True],
        [False, False, True, True, True],
    )
    assert (rules.whole.tolist(), rules.high[0].item(), rules.groups) == ([True] + [False] * 4, 90.0, ((3, 4),))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("norm = 'l3'", "norm is 'l3'; it must be linf, l1 or l2"),
        ("[feature.agee]", "feature.agee is not known; there are age, sex"),
        ("[feature.age]\nchange = 'sideways'", "feature.age.change is 'sideways'; give any, up, down, none"),
        ("[feature.age]\nscale = 'wide'", "give a number, or spread"),
        ("[feature.age]\nscale = 0", "scale is .* finite number above 0"),
        ("[feature.age]\nwhole = 1", "feature.age.whole is 1; give true or false"),
        ("[feature.age]\nlow = true", "feature.age.low is True; give a number"),
        ("[feature.age]\nlow = 3\nhigh = 2", "may go from 3 to 2"),
        ("[feature.age]\nsteps = 3", "feature.age.steps is not known; there are change, scale"),
        ("[category]\njob = ['job_a', 'job_c']", "category.job is"),
        ("[category]\njob = ['job_a']", "a category needs at least 2"),
        ("feature = 3", "feature is 3; it must be a table"),
        ("feature = ", "is not TOML"),
        ("colour = 3", "colour is not known; there are norm, every"),
    ],
)
def test_what_a_file_may_not_say_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(UsageError, match=sentence) as caught:
        read_rules(tmp_path / "rules.toml", NAMES, torch.rand(3, 5))
    assert "\n" not in str(caught.value)


def test_rules_that_do_not_fit_are_named():
    with pytest.raises(UsageError, match="scale has 2 values; give one, or one for each of 3 features"):
        Rules.of(3, scale=[1.0, 2.0])
    with pytest.raises(UsageError, match="to one group at most"):
        Rules.of(4, groups=[[0, 1], [1, 2]])
    with pytest.raises(UsageError, match="differ in scale or change"):
        Rules.of(4, groups=[[0, 1]], scale=[1.0, 2.0, 1.0, 1.0])
    with pytest.raises(UsageError, match="an example has 2 features; the rules are for 3"):
        Features(1.0, Rules.of(3)).project(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(UsageError, match="norm is 'l7'"):
        Features(1.0, Rules.of(3), "l7")


def test_examples_that_break_the_rules_themselves_are_refused():
    target = brinell.target(network())
    x = torch.full((4, 6), 0.5)
    with pytest.raises(UsageError, match="4 of 4 examples break the rules of the set 'features' as they are"):
        brinell.attack(Noise(), target, x, target.labels(x), Threat(Features(0.1, Rules.of(6, whole=True))))


def test_other_rules_are_another_set():
    one, two = (Features(1.0, Rules.of(3, scale=s)) for s in (1.0, 2.0))
    assert one.about != two.about
    assert one.about == Features(2.0, Rules.of(3)).about
