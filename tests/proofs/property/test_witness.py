"""A witness keeps to its own file: to every decimal number, strictly where that is strict, in the model's precision."""

from fractions import Fraction

import pytest
import torch

from brinell.proofs import decide, parse_vnnlib
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import graph

HEAD = "(declare-const X_0 Real) (declare-const Y_0 Real)\n"


def rectifier():
    build = Builder()
    build.relu(build.input((1,)))
    return graph(build.nodes)


def answered(text, precision=torch.float32, timeout=2.0):
    """Of y = relu(x)."""
    network = rectifier()
    return decide(network, parse_vnnlib(HEAD + text), network, timeout=timeout, precision=precision)


def bounds(low, high, least=">=", most="<="):
    return f"(assert ({least} X_0 {low})) (assert ({most} X_0 {high}))"


@pytest.mark.sweep(2)
@pytest.mark.parametrize("row", ["(< Y_0 0)", "(> 0 Y_0)", "(and (< Y_0 0) (<= Y_0 1))", "(or (< Y_0 0) (> Y_0 1))"])
def test_an_edge_is_no_witness_of_a_strict_comparison(row):
    assert answered(f"{bounds(-1, 1)} (assert {row})").verdict != "sat"


@pytest.mark.parametrize("row", ["(<= Y_0 0)", "(>= 0 Y_0)", "(= Y_0 0)", "(or (< Y_0 0) (<= Y_0 0))"])
def test_an_edge_is_a_witness_of_one_that_is_not(row):
    assert float(answered(f"{bounds(-1, 1)} (assert {row})", timeout=60).witness.y) == 0


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("low", "high"), [("0.1", "0.2"), ("0.1", "0.10000001"), ("-1e-50", "0.3"), ("0.5", "0.50000006"), ("1e-3", "7")]
)
@pytest.mark.parametrize("strict", [False, True])
def test_a_witness_is_between_the_decimal_numbers_of_its_file(precision, low, high, strict):
    least, most = (">", "<") if strict else (">=", "<=")
    for wanted in ("<= Y_0 9", ">= Y_0 -9"):
        x = answered(f"{bounds(low, high, least, most)} (assert ({wanted}))", precision, 60).witness.x
        assert x.to(precision).double() == x
        exact = Fraction(float(x))
        assert Fraction(low) <= exact <= Fraction(high)
        assert not strict or Fraction(low) < exact < Fraction(high)


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("low", "high", "least", "most"),
    [
        ("0.1", "0.1", ">=", "<="),
        ("0.1", "0.100000001", ">=", "<="),
        ("0.5", "0.50000001", ">", "<="),
        ("0.5", "0.500000059604644775390625", ">", "<"),
    ],
)
def test_a_box_without_a_number_of_the_precision_has_no_witness(low, high, least, most):
    assert answered(f"{bounds(low, high, least, most)} (assert (>= Y_0 0))").verdict != "sat"


def test_a_number_that_was_written_from_a_float_is_that_float():
    """0.1 in float32, as Python writes it: the decimal number itself is no float at all."""
    held = repr(float(torch.tensor(0.1)))
    assert float(answered(f"{bounds(held, held)} (assert (>= Y_0 0))", timeout=60).witness.x) == float(held)


def test_a_row_is_compared_in_the_very_numbers_of_the_file():
    """0.3 is more than the float64 nearest to it, at which the output is."""
    inside = bounds("0.25", "0.2999999999999999889")
    assert answered(f"{inside} (assert (>= Y_0 0.3))", torch.float64).verdict != "sat"


def test_equal_bounds_of_which_one_is_strict_are_the_strict_one():
    for both in ("(assert (> X_0 0)) (assert (>= X_0 0))", "(assert (>= X_0 0)) (assert (> X_0 0))"):
        answer = answered(f"{both} (assert (<= X_0 1)) (assert (<= Y_0 0.1))", timeout=60)
        assert float(answer.witness.x) > 0


def test_a_case_of_an_open_point_is_left_out():
    goal = parse_vnnlib(
        HEAD + "(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (or (and (> X_0 1) (<= Y_0 0)) (<= Y_0 1)))"
    )
    assert len(goal.cases) == 1
