import torch

from brinell.evasion import GenAttack, Hunt, attack
from brinell.threat import Linf, Threat
from models import UNIT, constant, generator, relu_net, target


def test_a_generation_costs_all_but_the_elite() -> None:
    x = torch.rand(2, 3, 3, generator=generator())
    y = torch.zeros(2, dtype=torch.int64)
    found = attack(GenAttack(generations=4, population=6), target(constant(1.0, 0.0)), x, y, Threat(Linf(0.1)))
    assert found.queries.tolist() == [1 + 6 + 3 * 5] * 2


def test_the_best_of_the_population_never_falls() -> None:
    model = relu_net((2, 4, 4))
    x = torch.rand(8, 2, 4, 4, generator=generator())
    y = target(model).labels(x)
    best = []

    def never(scores, y, aim):
        values = scores.gather(1, ((y + 1) % 3).unsqueeze(1)).squeeze(1)
        best.append(values.reshape(-1, len(hunt)).amax(0))
        return values

    hunt = Hunt(target(model), x, y, Threat(Linf(1e-4)).within(UNIT), generator())
    attack = GenAttack(generations=40, objective=never)
    attack(hunt)
    assert len(hunt) == 8
    first, later = best[0], torch.stack(best[1:]).amax(0)
    assert (later >= first).all()
    assert (later > first).any()


def test_mutation_grows_rarer_and_smaller_with_every_plateau() -> None:
    x = torch.full((2, 1, 40, 40), 0.5)
    y = torch.zeros(2, dtype=torch.int64)
    hunt = Hunt(target(constant(1.0, 0.0)), x, y, Threat(Linf(0.1)).within(UNIT), generator())
    made = GenAttack(tile=1, side=40, rate=0.5, least_rate=0.1, step=0.5, least_step=0.2)
    moved = made._mutated(hunt, x, *made._pace(torch.tensor([0.0, 10.0]))) - x
    rate = (moved != 0).flatten(1).float().mean(1)
    torch.testing.assert_close(rate, torch.tensor([0.5, 0.5 * 0.9**10]), rtol=0.1, atol=0)
    largest = moved.abs().flatten(1).amax(1)
    torch.testing.assert_close(largest, torch.tensor([0.05, 0.02]), rtol=0.05, atol=0)
