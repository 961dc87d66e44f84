import pytest
import torch

from brinell.evasion import Cosines, Hunt, SimBA, Standard, attack
from brinell.evasion.score.simba import cosines
from brinell.threat import L2, Threat
from models import UNIT, Of, generator, relu_net, target


@pytest.mark.parametrize("basis", [Standard(), Cosines(), Cosines(2)], ids=repr)
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 4, 3), (1, 2, 3, 2)], ids=str)
def test_a_basis_is_orthonormal(basis, shape) -> None:
    count = basis.count(torch.zeros(1, *shape))
    like = torch.zeros(count, *shape, dtype=torch.float64)
    rows = basis.directions(torch.arange(count), like).flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(count, dtype=rows.dtype))


def test_the_lowest_frequency_is_flat_and_each_next_turns_more_often() -> None:
    waves = cosines(16, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(waves[0], torch.full((16,), 0.25, dtype=waves.dtype))
    turns = (waves.sign().diff(dim=1) != 0).sum(1)
    assert turns.tolist() == list(range(16))


def test_forward_costs_one_query_and_backward_another() -> None:
    """The objective is the sum of the features: all forward steps help the first example, backward ones the second."""
    model = Of(lambda x: torch.stack([torch.full((len(x),), 50.0), x.sum(1)], 1))
    asked = []

    def rising(scores, y, aim):
        asked.append(scores[:, 1] * torch.tensor([1.0, -1.0]))
        return asked[-1]

    x, y = torch.full((2, 8), 0.5), torch.zeros(2, dtype=torch.int64)
    hunt = Hunt(target(model), x, y, Threat(L2(10.0)).within(UNIT), generator())
    SimBA(queries=8, step=0.01, objective=rising)(hunt)
    gained = torch.stack(asked).amax(0) - asked[0]
    torch.testing.assert_close(gained, torch.tensor([0.08, 0.04]), rtol=1e-3, atol=0)
    assert hunt.queries.tolist() == [9, 9]


@pytest.mark.parametrize("basis", [Standard(), Cosines()], ids=repr)
def test_the_objective_kept_never_falls_and_the_length_is_at_most_the_papers(basis) -> None:
    model = relu_net((2, 4, 4))
    x = torch.rand(10, 2, 4, 4, generator=generator())
    y = target(model).labels(x)
    found = attack(SimBA(queries=60, basis=basis, step=0.05), target(model), x, y, Threat(L2(5.0)))
    assert found.broken.any()
    assert (found.distance[found.broken] <= 0.05 * (found.queries[found.broken] - 1).sqrt() + 1e-6).all()
