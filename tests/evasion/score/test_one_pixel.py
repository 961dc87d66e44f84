import itertools

import torch

from brinell.evasion import Hunt, LocalSearch, OnePixel, attack
from brinell.evasion.score.one_pixel import _painted
from brinell.threat import Linf, Pixels, Threat
from models import UNIT, constant, generator, relu_net, target


def exhaustive(model, x, y, radius: float) -> torch.Tensor:
    """Whether one pixel of a 3 by 3 image breaks it, each of its two channels at an end of its range or as it was."""
    broken = torch.zeros(len(x), dtype=torch.bool)
    for i, j, *move in itertools.product(range(3), range(3), (-1, 0, 1), (-1, 0, 1)):
        changed = x.clone()
        changed[:, :, i, j] = (changed[:, :, i, j] + 0.999 * radius * torch.tensor(move)).clamp(0, 1)
        broken |= target(model).labels(changed) != y
    return broken


def test_one_pixel_finds_what_trying_every_pixel_finds() -> None:
    model = relu_net((2, 3, 3))
    x = torch.rand(60, 2, 3, 3, generator=generator(2))
    y = target(model).labels(x)
    can = exhaustive(model, x, y, 0.15)
    assert 0.1 < can.float().mean() < 0.9
    found = attack(OnePixel(generations=30, population=80), target(model), x, y, Threat(Linf(0.15)))
    assert (found.broken | ~can).all()
    assert ((found.x != x).any(1).flatten(1).sum(1) == found.broken).all()


def test_more_pixels_break_more_and_no_more_are_changed() -> None:
    model = relu_net((2, 3, 3))
    x = torch.rand(60, 2, 3, 3, generator=generator(2))
    y = target(model).labels(x)
    rates = []
    for pixels in (1, 3):
        made = OnePixel(pixels=pixels, generations=15, population=40)
        found = attack(made, target(model), x, y, Threat(Linf(0.1)))
        changed = (found.x != x).any(1).flatten(1).sum(1)
        assert changed.max() <= pixels
        rates.append(found.broken.float().mean())
    assert rates[0] < rates[1]


def test_genomes_paint_the_place_and_the_colour_they_say() -> None:
    x = torch.full((1, 2, 3, 4), 0.5)
    hunt = Hunt(target(constant(1.0, 0.0)), x, torch.zeros(1).long(), Threat(Pixels(2)).within(UNIT), generator())
    genomes = torch.tensor([[[[0.99, 0.0, 0.25, 1.0], [1.0, 0.5, 0.0, 0.0]]]])
    painted = _painted(hunt, genomes)
    expected = x.clone()
    expected[0, :, 2, 0] = torch.tensor([0.25, 1.0])
    expected[0, :, 2, 2] = 0.0
    assert torch.equal(painted[0], expected)


def test_generations_cost_a_population_each_and_the_budget_is_spent() -> None:
    x = torch.rand(2, 3, 3, generator=generator())
    y = torch.zeros(2, dtype=torch.int64)
    model = target(constant(1.0, 0.0))
    assert attack(OnePixel(generations=2, population=10), model, x, y, Threat(Pixels(1))).queries.tolist() == [31, 31]
    short = Threat(Linf(0.1), queries=25)
    assert attack(OnePixel(generations=9, population=10), model, x, y, short).queries.tolist() == [25, 25]


def test_local_search_tries_every_pixel_of_a_small_image_and_counts_it() -> None:
    model = relu_net((2, 3, 3))
    x = torch.rand(60, 2, 3, 3, generator=generator(2))
    y = target(model).labels(x)
    found = attack(LocalSearch(rounds=30, points=9, chosen=1), target(model), x, y, Threat(Pixels(3)))
    assert found.broken.float().mean() > 0.5
    assert (found.distance[found.broken] <= 3).all()
    still = attack(LocalSearch(rounds=2, points=9), target(constant(1.0, 0.0)), x[:1], y[:1] * 0, Threat(Pixels(3)))
    assert still.queries.tolist() == [21]
