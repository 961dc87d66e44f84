"""A candidate that serves in a batch and not alone is offered again, a little farther out, and judged as any other."""

from dataclasses import dataclass
from typing import ClassVar, final

import pytest
import torch
from torch import Tensor

from brinell.evasion import Attack, Hunt, attack
from brinell.evasion.attack import PUSHES
from brinell.threat import Access, Linf, Threat
from models import Of, target


@final
@dataclass(frozen=True)
class To(Attack):
    """Goes to one value."""

    value: float
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        hunt.move(torch.full_like(hunt.x0, self.value))
        hunt.query_if_moved()


def shy(edge: float, alone: float) -> Of:
    """Class 1 from the edge on, but for a batch of one only from another."""

    def scores(x: Tensor) -> Tensor:
        value = x.flatten(1)[:, 0]
        return torch.stack([torch.full_like(value, alone if len(x) == 1 else edge), value], 1)

    return Of(scores)


X, Y = torch.zeros(2, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize("push", PUSHES)
def test_the_least_push_that_serves_alone_is_taken(push) -> None:
    found = attack(To(0.5), target(shy(0.5, 0.5 * (1 + push))), X, Y, Threat(Linf(0.6)))
    assert found.broken.all()
    assert found.distance.tolist() == pytest.approx([0.5 * (1 + push)] * 2, rel=1e-12)


def test_what_never_serves_alone_is_not_broken() -> None:
    found = attack(To(0.5), target(shy(0.5, 0.51)), X, Y, Threat(Linf(0.6)))
    assert not found.broken.any()
    assert torch.equal(found.x, X)


def test_a_push_out_of_the_set_is_refused() -> None:
    found = attack(To(0.5), target(shy(0.5, 0.5 * (1 + PUSHES[1]))), X, Y, Threat(Linf(0.5)))
    assert not found.broken.any()
