import pytest
import torch
from torch import nn

import brinell
from brinell.errors import UsageError
from brinell.targets import Gaussian, Uniform, smoothed, tally


def line(bias: float = 0.0) -> nn.Module:
    """Class 1 where the sum of two inputs, and the bias, is positive."""
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
        net.bias.copy_(torch.tensor([0.0, bias]))
    return net


def test_scores_are_shares_of_the_votes() -> None:
    target = smoothed(brinell.target(line(-1.0), box=(-9, 9)), Gaussian(0.5), votes=4001)
    x = torch.tensor([[0.5, 0.5], [0.8, 0.8], [-3.0, -3.0]])
    scores = target.scores(x)
    expected = 0.5 * (1 + torch.erf((x.sum(1) - 1) / (0.5 * 2**0.5) / 2**0.5))
    torch.testing.assert_close(scores[:, 1], expected, rtol=0, atol=0.03)
    torch.testing.assert_close(scores.sum(1), torch.ones(3))
    assert torch.equal(target.labels(x), scores.argmax(1))


def test_an_example_alone_gets_the_answer_it_gets_among_others() -> None:
    target = smoothed(brinell.target(line()), Uniform(0.5), votes=50)
    x = torch.rand(7, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    together = target.scores(x)
    assert torch.equal(together, torch.cat([target.scores(one[None]) for one in x]))
    assert torch.equal(together, target.scores(x))
    assert torch.equal(together, target.copy().scores(x))


def test_noise_comes_before_normalisation() -> None:
    """A class 1 beyond 0.5: with noise added afterwards, in units of 0.01, a hundredth of it would count."""
    base = brinell.target(line(), mean=0.25, std=0.01)
    target = smoothed(base, Gaussian(0.2), votes=2000)
    share = float(target.scores(torch.tensor([[0.3, 0.3]]))[0, 1])
    expected = float(0.5 * (1 + torch.erf(torch.tensor(0.1 / (0.2 * 2**0.5) / 2**0.5))))
    assert share == pytest.approx(expected, abs=0.04)


def test_what_it_depends_on_is_in_its_digest_and_its_description() -> None:
    base = brinell.target(line())
    kinds = [smoothed(base, Gaussian(0.1)), smoothed(base, Gaussian(0.2)), smoothed(base, Uniform(0.1))]
    kinds += [smoothed(base, Gaussian(0.1), votes=10), smoothed(base, Gaussian(0.1), seed=1), base]
    assert len({target.digest for target in kinds}) == len(kinds)
    assert "smoothed by Gaussian(sigma=0.1), 1000 votes" in kinds[0].describe()
    with pytest.raises(UsageError, match="votes is 0"):
        smoothed(base, Gaussian(0.1), votes=0)


def test_votes_are_counted_in_blocks_of_any_size() -> None:
    base, x = brinell.target(line()), torch.tensor([[0.2, 0.0], [-0.2, 0.0]])
    noise = torch.randn(2, 30, 2, generator=torch.Generator().manual_seed(0))
    whole = tally(base, x, [noise])
    assert torch.equal(whole, tally(base, x, noise.split(7, 1)))
    assert whole.sum(1).tolist() == [30, 30]
    assert tally(base, x, []).shape == (2, 0)
