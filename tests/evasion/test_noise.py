import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion import Noise, attack
from brinell.threat import L2, Access, Linf, Threat
from models import UNIT, Recorder, generator, target


@pytest.mark.parametrize("set", [Linf(0.1, UNIT), L2(0.1, UNIT)], ids=lambda s: s.name)
def test_every_second_draw_is_an_extreme_point(set) -> None:
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return torch.tensor([[1.0, 0.0]]).repeat(len(x), 1)

    x0 = torch.full((3, 4), 0.5)
    attack(Noise(draws=6), target(Spy(), access=Access.LABELS), x0, torch.zeros(3).long(), Threat(set))
    _, *drawn = seen
    assert len(drawn) == 6
    for draw, x in enumerate(drawn):
        extreme = set.distance(x0, x) > 0.0999
        assert extreme.all() if draw % 2 == 0 else not extreme.all()
        if draw % 2 == 0 and set.name == "linf":
            torch.testing.assert_close((x - x0).abs(), torch.full_like(x, 0.1), rtol=1e-5, atol=0)
    assert len({tuple(x.flatten().tolist()) for x in drawn}) == 6


def test_one_query_a_draw_and_decisions_only() -> None:
    model = Recorder(lambda x: torch.tensor([[1.0, 0.0]]).repeat(len(x), 1), Access.LABELS)
    x = Recorder.examples(torch.rand(3, 2, generator=generator()))
    found = attack(Noise(draws=5), model.target(), x, torch.zeros(3).long(), Threat(Linf(0.1)))
    assert found.queries.tolist() == [6, 6, 6]
    assert model.gradients == 0


def test_draws_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="draws is 0"):
        Noise(draws=0)
