import pytest

from brinell.errors import UsageError
from brinell.threat import L2, Box, Threat


def test_a_threat_moves_to_a_box_or_a_radius_and_keeps_the_rest() -> None:
    threat = Threat(L2(0.5), queries=7)
    moved = threat.within(Box(0.0, 1.0)).at(0.25)
    assert moved.set == L2(0.25, Box(0.0, 1.0))
    assert moved.queries == 7
    assert threat.set == L2(0.5)


@pytest.mark.parametrize("queries", [0, -3])
def test_a_budget_that_cannot_be_is_refused(queries) -> None:
    with pytest.raises(UsageError, match=f"queries is {queries}"):
        Threat(L2(0.5), queries=queries)
