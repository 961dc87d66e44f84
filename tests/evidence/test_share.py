import math

import pytest

from brinell.errors import UsageError
from brinell.evidence import Share, wilson


def test_a_share_is_its_fraction_with_wilsons_interval() -> None:
    assert Share(3, 12).rate == 0.25
    assert Share(3, 12).interval == wilson(3, 12)


def test_a_share_of_nothing_says_nothing() -> None:
    assert math.isnan(Share(0, 0).rate)
    assert Share(0, 0).interval == (0.0, 1.0)


@pytest.mark.parametrize(("count", "of"), [(-1, 3), (4, 3)])
def test_more_than_all_or_less_than_none_is_refused(count: int, of: int) -> None:
    with pytest.raises(UsageError, match=f"count is {count} of {of}"):
        Share(count, of)
