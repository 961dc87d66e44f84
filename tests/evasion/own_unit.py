"""Here scores keep their own unit: what a gradient is worth is compared with the papers' formulas, number by number."""

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def scores_in_their_own_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(clean: Tensor) -> Tensor:
        return torch.ones(len(clean), dtype=torch.float64)

    monkeypatch.setattr("brinell.evasion.hunt.ordinary_unit", one)
