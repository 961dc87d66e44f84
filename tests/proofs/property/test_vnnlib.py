"""What a file means, against its own formula evaluated at points; and what it may not be."""

import gzip
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.errors import CannotRun
from brinell.proofs import deployed, parse_vnnlib, read_vnnlib

SHARED = Path(os.environ.get("BRINELL_SHARED", Path(__file__).parents[3].parent / "shared"))
INSTANCES = SHARED / "data" / "vnncomp"

INPUTS, OUTPUTS = 2, 3
HEAD = "".join(f"(declare-const X_{i} Real)\n" for i in range(INPUTS)) + "".join(
    f"(declare-const Y_{i} Real)\n" for i in range(OUTPUTS)
)
BOX = "(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 -1)) (assert (<= X_1 1))\n"


def met(goal, x, y):
    """Whether some case holds."""
    return any(
        bool(((x >= case.low) & (x <= case.high)).all() and (case.weights @ y + case.offsets <= 1e-9).all())
        for case in goal.cases
    )


numbers = st.integers(-3, 3)
comparisons = st.tuples(
    st.sampled_from(["<=", ">="]), st.integers(0, OUTPUTS - 1), st.integers(0, OUTPUTS - 1), numbers
)
formulas = st.recursive(
    comparisons,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=4,
)


def text(formula):
    if len(formula) == 4:
        compare, i, j, shift = formula
        return f"({compare} Y_{i} (+ Y_{j} {shift}))"
    return f"({formula[0]} {' '.join(map(text, formula[1]))})"


def holds(formula, y):
    if len(formula) == 4:
        compare, i, j, shift = formula
        gap = float(y[i] - y[j]) - shift
        return gap <= 1e-9 if compare == "<=" else gap >= -1e-9
    return (all if formula[0] == "and" else any)(holds(part, y) for part in formula[1])


@settings(max_examples=100, deadline=None)
@given(st.lists(formulas, min_size=1, max_size=2), st.lists(numbers, min_size=OUTPUTS, max_size=OUTPUTS))
def test_a_property_is_met_where_every_assertion_holds(asserted, values):
    goal = parse_vnnlib(HEAD + BOX + "\n".join(f"(assert {text(formula)})" for formula in asserted))
    x, y = torch.tensor([0.5, 0.0]).double(), torch.tensor(values).double()
    assert met(goal, x, y) == all(holds(formula, y) for formula in asserted)


def test_boxes_may_differ_between_the_cases():
    goal = parse_vnnlib(
        HEAD
        + "(assert (<= X_1 2)) (assert (>= X_1 0)) ; of both\n"
        + "(assert (or (and (<= X_0 1) (>= X_0 0) (<= Y_0 Y_1))\n"
        + "(and (<= 3.0 X_0) (>= 4e0 X_0) (<= X_1 1) (>= Y_0 2.5))))"
    )
    first, second = goal.cases
    assert (first.low.tolist(), first.high.tolist()) == ([0, 0], [1, 2])
    assert (second.low.tolist(), second.high.tolist()) == ([3, 0], [4, 1])
    assert (first.weights.tolist(), first.offsets.tolist()) == ([[1, -1, 0]], [0])
    assert (second.weights.tolist(), second.offsets.tolist()) == ([[-1, 0, 0]], [2.5])


def test_an_empty_box_leaves_the_other_cases():
    some = "(assert (or (and (<= X_0 -1) (<= Y_0 0)) (and (<= Y_1 0))))"
    assert parse_vnnlib(HEAD + BOX + some).cases[0].weights.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BOX + "(assert (<= Y_3 0))", ":7:13: 'Y_3' is neither a declared variable nor a finite number"),
        (BOX + "(assert (<= Y_0 nan))", "'nan' is neither"),
        (BOX + "(assert (<= Y_0 1e999))", "'1e999' is neither"),
        (BOX + "(assert (<= (* Y_0 Y_1) 0))", "two variables multiplied"),
        (BOX + "(assert (<= X_0 Y_0))", "an input compared with a variable"),
        (BOX + "(assert (<= X_0 (+ X_1 1)))", "an input compared with a variable"),
        (BOX + "(assert (<= X_0 -1))", ":7:9: X_0 is to be at least 0 and at most -1; no input is both"),
        ("(assert (>= X_0 0)) (assert (<= Y_0 0))", "X_0 is not bounded from below and above"),
        (BOX + "(assert (not (<= Y_0 0)))", "'not' is no comparison"),
        (BOX + "(assert (or))", "'or' is no comparison, and no conjunction or disjunction of some"),
        (BOX + "(assert (<= Y_0 0 1))", "<= compares two expressions, here 3"),
        (BOX + "(assert Y_0)", "'Y_0' where a list in parentheses was expected"),
        (BOX + "(assert (<= Y_0 0)", ":7:1: a parenthesis that is never closed"),
        (BOX + "(assert (<= Y_0 0))) ", "a parenthesis closes"),
        (BOX + "hello", "'hello' outside parentheses"),
        (BOX + "(assume (<= Y_0 0))", "'assume' is no command"),
        ("(declare-const Z_0 Real)", "'Z_0' is neither an input"),
        ("(declare-const Y_5 Real)" + BOX, ":6:1: Y_5 is declared and Y_3 is not"),
        ("(declare-const Y_0 Real)", "declared twice"),
        ("(declare-const Y_3 Int)", "declared as 'Int'"),
        (BOX + "(assert " + "(and " * 200 + ")" * 201, "parentheses deep"),
        (BOX + "".join("(assert (or (<= Y_0 0) (<= Y_1 0)))" for _ in range(20)), "more than 10000 cases"),
        (BOX + "(assert (and " + "(or (<= Y_0 0) (<= Y_1 0))" * 20 + "))", "more than 10000 cases"),
        (BOX + "(assert ())", ":7:9: a list that does not begin with a word"),
        (BOX + '(assert (<= Y_0 0"))', 'a quotation " that does not end'),
        (BOX + "(assert (<= Y_0 0|))", "a quotation | that does not end"),
        (BOX + "(assert (<= Y_0 (+ 1e308 1e308)))", ":7:9: its numbers come to more than a float64 can hold"),
        (BOX + "(assert (<= Y_0 (* 1e200 1e200)))", "more than a float64 can hold"),
        (BOX + "(assert (<= Y_0 (- (* 1e200 1e200) (* 1e200 1e200))))", "more than a float64 can hold"),
        (BOX + "(assert (<= (+ (* 1e200 (* 1e200 Y_0)) 1) 0))", "more than a float64 can hold"),
        (BOX + "(assert (<= Y_0 \u0661))", "neither a declared variable nor a finite number"),
        (BOX + "(ass\x00ert (<= Y_0 0))", "'ass\\x00ert' is no command"),
        (BOX + "(assert (<= Y_0 " + "9" * 1000 + "))", "'999999999999999999999999999999999999999…' is neither"),
        (
            BOX + "(assert (and " + "(<= Y_0 0) " * 2000 + "(or " + "(<= Y_1 0) " * 9000 + ")))",
            "more than 10000000",
        ),
    ],
)
def test_what_is_not_understood_is_one_line_with_its_place(body, words):
    with pytest.raises(CannotRun) as error:
        parse_vnnlib(HEAD + body)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_and_never_anything_else(data):
    whole = HEAD + BOX + "(assert (or (and (<= Y_0 Y_1) (>= Y_2 -0.5)) (and (<= (+ Y_0 (* 2 Y_1)) 1))))"
    start = data.draw(st.integers(0, len(whole)))
    damage = data.draw(st.text(alphabet='()<=>XY_01. eE+-*;|"\nand', max_size=6))
    try:
        goal = parse_vnnlib(whole[:start] + damage + whole[start + data.draw(st.integers(0, 8)) :])
    except CannotRun:
        return
    assert all(case.low.isfinite().all() and case.high.isfinite().all() for case in goal.cases)


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b broken", b"\xff\xfe\x00", gzip.compress(b"(assert")[:-4]], ids=["head", "utf-16", "cut"]
)
def test_a_file_that_is_no_text_is_refused(content, tmp_path):
    (tmp_path / "p.vnnlib").write_bytes(content)
    with pytest.raises(CannotRun, match=r"p\.vnnlib"):
        read_vnnlib(tmp_path / "p.vnnlib")
    with pytest.raises(CannotRun, match="No such file"):
        read_vnnlib(tmp_path / "q.vnnlib")


def test_a_file_beyond_all_measure_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr("brinell.proofs.property.vnnlib.MOST_CHARACTERS", 100)
    (tmp_path / "p.vnnlib").write_text(HEAD)
    with pytest.raises(CannotRun, match="longer than"):
        read_vnnlib(tmp_path / "p.vnnlib")
    (tmp_path / "p.vnnlib.gz").write_bytes(gzip.compress(b" " * 10**6))
    with pytest.raises(CannotRun, match="once decompressed"):
        read_vnnlib(tmp_path / "p.vnnlib.gz")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not INSTANCES.is_dir(), reason="no shared data")
def test_published_counterexamples_meet_their_properties():
    with gzip.open(INSTANCES / "counterexamples.json.gz") as f:
        found = json.load(f)
    small = {key: x for key, x in found.items() if len(x) < 1000}
    assert len(small) >= 20
    networks = {}
    for key, values in small.items():
        folder, network, goal = key.split("|")
        file = INSTANCES / folder / f"{network}.gz"
        if file not in networks:
            networks[file] = deployed(file)
        model = networks[file]
        x = torch.tensor(values).float().double()
        y = model(x.unsqueeze(0))[0]
        near = [
            bool(((x >= case.low - 1e-6) & (x <= case.high + 1e-6)).all())
            and bool((case.weights @ y + case.offsets <= 0).all())
            for case in read_vnnlib(INSTANCES / folder / f"{goal}.gz").cases
        ]
        assert any(near), key
