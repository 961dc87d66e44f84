"""Smoothing, where the vote is known: of a linear classifier, whose radius is the distance to its boundary."""

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn

import brinell
from brinell.errors import UsageError
from brinell.evidence import at_least, clopper_pearson
from brinell.proofs import ABSTAIN, Smoothing
from brinell.targets import Gaussian, NoiseDistribution, Target, Uniform, smoothed


def step(noise: NoiseDistribution, features: int = 3) -> Target:
    """Class 1 where the first feature is positive: its distance is that feature, in every norm."""
    net = nn.Linear(features, 3)
    with torch.no_grad():
        net.weight.zero_()
        net.weight[1, 0] = 1.0
        net.bias.copy_(torch.tensor([0.0, 0.0, -1e3]))
    return smoothed(brinell.target(net, box=(-9, 9)), noise, votes=1)


def at(*distances: float) -> torch.Tensor:
    x = torch.zeros(len(distances), 3)
    x[:, 0] = torch.tensor(distances)
    return x


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("hits", "n", "alpha", "share"),
    [
        (99, 100, 0.001, 0.9113731113),
        (100, 100, 0.001, 0.9332543008),
        (990, 1000, 0.001, 0.9760361872),
        (99500, 100000, 0.001, 0.9942718184),
        (51, 100, 0.05, 0.4234106513),
        (0, 100, 0.05, 0.0),
    ],
)
def test_lower_bounds_on_shares(hits: int, n: int, alpha: float, share: float) -> None:
    found = float(at_least(hits, n, alpha))
    assert found == pytest.approx(share, abs=1e-9)
    assert found == pytest.approx(clopper_pearson(hits, n, 1 - 2 * alpha)[0], abs=1e-9)
    if hits:  # at the bound, so many hits or more have probability alpha
        assert binom.sf(hits - 1, n, found) == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize("noise", [Gaussian(0.5), Uniform(0.5)], ids=["gaussian", "uniform"])
def test_radii_come_near_the_distance_and_do_not_pass_it(noise) -> None:
    distances = (0.1, 0.2, 0.3, -0.2)
    found = Smoothing(draws=20_000, alpha=1e-6).certify(step(noise), at(*distances), rng())
    assert found.labels.tolist() == [1, 1, 1, 0]
    for radius, distance in zip(found.radius.tolist(), distances, strict=True):
        assert abs(distance) - 0.05 <= radius <= abs(distance)
    assert found.draws.tolist() == [20_000] * 4


def test_no_vote_of_all_draws_shows_more_than_its_chance_allows() -> None:
    """sigma times the quantile of alpha^(1 / n): 3.8115 sigma for a hundred thousand draws at 0.001."""
    for draws, sigmas in ((1000, 2.4633), (100_000, 3.8115)):
        found = Smoothing(draws=draws, rows=20_000).certify(step(Gaussian(0.01)), at(5.0), rng())
        assert found.radius.item() / 0.01 == pytest.approx(sigmas, abs=1e-4)


def test_a_toss_up_is_abstained_from_early() -> None:
    found = Smoothing(draws=50_000).certify(step(Gaussian(0.5)), at(0.0, 0.001, 1.0), rng())
    assert found.labels.tolist()[2] == 1
    assert found.labels.tolist()[0] == ABSTAIN or found.share[0] > 0.5
    predicted = Smoothing(draws=200).predict(step(Gaussian(0.5)), at(0.0, 1.0, -1.0), rng())
    assert predicted.tolist() == [ABSTAIN, 1, 0]
    lost = Smoothing(draws=50_000).certify(step(Gaussian(0.5)), at(0.4), rng(), need=torch.tensor([0.6]))
    assert lost.draws.item() < 50_000
    assert 0 < lost.radius.item() < 0.4


def test_a_radius_that_is_shown_ends_the_drawing_and_one_beyond_reach_begins_none() -> None:
    smoothing = Smoothing(draws=64_000)
    x, need = at(1.0, 1.0, 1.0), torch.tensor([0.1, 0.9, 9.0])
    found = smoothing.certify(step(Gaussian(0.5)), x, rng(), need)
    assert found.draws.tolist() == [1000, 4000, 0]
    assert (found.radius >= need).tolist() == [True, True, False]
    assert found.labels.tolist() == [1, 1, ABSTAIN]


def test_the_parts_of_looks_add_up_to_alpha() -> None:
    """A count that every look accepts is accepted at alpha / looks: the bounds are those of that part."""
    found = Smoothing(draws=6400, alpha=0.01).certify(step(Gaussian(0.01)), at(1.0), rng(), torch.tensor([0.001]))
    assert found.share.item() == pytest.approx(0.0025 ** (1 / 100))
    once = Smoothing(draws=100, looks=1, alpha=0.01).certify(
        step(Gaussian(0.01)), at(1.0), rng(), torch.tensor([0.001])
    )
    assert once.share.item() == pytest.approx(0.01 ** (1 / 100))


def test_a_statement_about_all_examples_shares_alpha_out() -> None:
    alone = Smoothing(draws=1000, alpha=0.01)
    found = alone.together(50).certify(step(Gaussian(0.5)), at(*[1.0] * 50), rng())
    assert found.alpha == 0.01 / 50
    assert found.failure == pytest.approx(0.01)
    assert alone.certify(step(Gaussian(0.5)), at(*[1.0] * 200), rng()).failure == 1.0


def test_the_generator_decides_everything() -> None:
    target, x = step(Gaussian(0.5)), at(0.1, 0.3)
    before = torch.get_rng_state()
    one, two, other = (Smoothing(draws=500).certify(target, x, rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.share, two.share)
    assert not torch.equal(one.share, other.share)
    assert torch.equal(before, torch.get_rng_state())


def test_too_few_draws_are_refused_with_the_number_it_takes() -> None:
    with pytest.raises(UsageError, match=r"draws is 9; even if all agree .* alpha 0.001: give at least 10"):
        Smoothing(draws=9)
    found = Smoothing(draws=10, looks=1).certify(step(Gaussian(0.5)), at(9.0), rng())
    assert found.labels.tolist() == [1]
    with pytest.raises(UsageError, match="alpha is 0"):
        Smoothing(alpha=0)
    with pytest.raises(UsageError, match="looks is 0"):
        Smoothing(looks=0)


def test_a_plain_target_has_no_vote() -> None:
    base = step(Gaussian(0.1)).backend.base
    with pytest.raises(UsageError, match="give a target made by"):
        Smoothing().certify(base, at(0.1), rng())
    none = Smoothing().certify(step(Gaussian(0.1)), at(), rng())
    assert none.failure == 0
    assert len(none.labels) == 0


def test_a_checkpoint_may_stop_it() -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        Smoothing().certify(step(Gaussian(0.1)), at(0.1), rng(), checkpoint=stop)


def wrong(noise: NoiseDistribution, smoothing: Smoothing, distance: float, need: float | None, repeats: int) -> int:
    """How many of so many statements about an example claim more than its distance."""
    x = at(*[distance] * repeats)
    wanted = None if need is None else torch.full((repeats,), need)
    return int((smoothing.certify(step(noise), x, rng(3), wanted).radius > distance).sum())


@pytest.mark.parametrize("need", [None, 0.1, 0.2001], ids=["all-draws", "early", "just-beyond"])
def test_statements_are_wrong_no_more_often_than_they_say(need) -> None:
    """alpha is 0.2, so that errors are there to be counted: at most 0.2 of 300, and what chance adds once in 1e4."""
    smoothing = Smoothing(draws=400, select=20, alpha=0.2, rows=2**15)
    assert wrong(Gaussian(0.5), smoothing, 0.2, need, 300) <= binom.isf(1e-4, 300, 0.2)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [Gaussian(0.5), Uniform(0.5)], ids=["gaussian", "uniform"])
@pytest.mark.parametrize("need", [None, 0.05, 0.2001], ids=["all-draws", "early", "just-beyond"])
@pytest.mark.parametrize("looks", [1, 4])
def test_coverage_by_simulation(noise, need, looks: int) -> None:
    smoothing = Smoothing(draws=2000, select=20, alpha=0.05, looks=looks, rows=2**15)
    count = wrong(noise, smoothing, 0.2, need, 2000)
    assert count <= binom.isf(1e-4, 2000, 0.05)
    if need is None and looks == 1:  # and the exact interval is not far from exact
        assert count >= binom.isf(1 - 1e-4, 2000, 0.03)


def test_shares_of_none_and_of_all() -> None:
    assert at_least(np.array([0, 5]), 5, 0.05).tolist() == pytest.approx([0.0, 0.05 ** (1 / 5)])
