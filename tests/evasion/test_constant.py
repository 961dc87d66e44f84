import torch
from hypothesis import given
from hypothesis import strategies as st

from brinell.evasion.constant import Constant


@given(
    first=st.floats(1e-3, 1e3),
    least=st.floats(1e-3, 1e4),
)
def test_bisection_closes_in_on_the_least_constant_that_serves(first: float, least: float) -> None:
    constant = Constant.begun(torch.tensor([first], dtype=torch.float64))
    for _ in range(40):
        constant.note(constant.value >= least)
        constant.bisect()
    assert constant.low.item() < least * (1 + 1e-6)
    assert constant.high.item() >= least * (1 - 1e-6)
    assert (constant.high - constant.low).item() <= 1e-4 * max(first, least)


def test_each_example_has_a_constant_of_its_own() -> None:
    constant = Constant.begun(torch.tensor([1.0, 1.0]))
    constant.note(torch.tensor([True, False]))
    constant.bisect()
    assert constant.value.tolist() == [0.5, 10.0]
    assert not constant.won.any()
