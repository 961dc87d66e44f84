import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brinell.auditing import Requirement, gate
from brinell.auditing.gate import Outcome, Ruling, worst
from brinell.errors import BrinellError, UsageError
from brinell.evidence import clopper_pearson
from brinell.threat.radius import parse_radius
from questions.runs import ATTACKS, RADII, audited, examples, network


@pytest.fixture(scope="module")
def run():
    return audited()


@given(st.text(max_size=40) | st.from_regex(r"[a-z]{0,9}@?[0-9./e+-]{0,6}[<>]?=?[0-9.e+-]{0,6}"))
def test_any_text_is_a_requirement_or_a_usage_error(text):
    try:
        requirement = Requirement.parse(text)
    except UsageError:
        return
    assert Requirement.parse(str(requirement)).figure == requirement.figure
    assert 0 <= requirement.value <= 1


@given(
    st.sampled_from(("certified", "unbroken", "open", "broken")),
    st.floats(0, 10).map(lambda r: float(f"{r:g}")),
    st.booleans(),
    st.floats(0, 1).map(lambda v: float(f"{v:g}")),
)
def test_what_is_printed_is_read_back(figure, radius, at_least, value):
    requirement = Requirement("evasion", figure, f"{radius:g}", at_least, value)
    assert Requirement.parse(str(requirement)) == requirement


@pytest.mark.parametrize(
    ("text", "at"), [("certified@8/255>=0.4", "8/255"), (" certified @ 0.1 >= .4 ", "0.1"), ("clean>=0.9", None)]
)
def test_how_a_requirement_is_written(text, at):
    assert Requirement.parse(text).at == at


@pytest.mark.parametrize(
    "text",
    ["", "certified>=0.4", "clean@0.1>=0.4", "certified@0.1>0.4", "certified@0.1>=40", "certified@0.1>=-1",
     "certified@x>=0.4", "certified@1/0>=0.4", "certified@0.1>=e", "robust@0.1>=0.4", "certified@0.1>=0.4 or so",
     "certified@nan>=0.4", "certified@-0.1>=0.4", "certified@inf>=0.4"],
)  # fmt: skip
def test_what_is_no_requirement_is_shown_how_to_write_one(text):
    with pytest.raises(UsageError, match=r"requirement|radius"):
        Requirement.parse(text)


@pytest.mark.parametrize(("text", "radius"), [("0.1", 0.1), ("8/255", 8 / 255), ("1e-3", 1e-3)])
def test_a_radius_is_a_number_or_a_quotient(text, radius):
    assert parse_radius(text) == radius


@given(st.text(max_size=12))
def test_any_other_text_is_no_radius(text):
    try:
        radius = parse_radius(text)
    except UsageError:
        return
    assert radius >= 0
    assert math.isfinite(radius)


@given(st.sampled_from(("certified", "unbroken", "broken", "open")), st.booleans(), st.floats(0, 1))
def test_a_gate_is_decided_by_the_whole_interval(run, figure, at_least, value):
    bracket = run.at(RADII[1])
    count = {
        "certified": bracket.certified_count,
        "unbroken": bracket.n - bracket.broken_count,
        "broken": bracket.broken_count,
        "open": bracket.open_count,
    }[figure]
    low, high = clopper_pearson(count, bracket.n)
    outcome = Requirement("evasion", figure, f"{RADII[1]}", at_least, value).decide(run).outcome
    if low < value < high:
        assert outcome is Outcome.INCONCLUSIVE
    elif value <= low:
        assert outcome is (Outcome.PASS if at_least else Outcome.FAIL if value < low else outcome)
    else:
        assert outcome is (Outcome.FAIL if at_least and value > high else outcome if at_least else Outcome.PASS)


def test_what_surely_holds_passes_even_at_the_ends(run):
    assert Requirement.parse(f"certified@{RADII[0]}>=0").decide(run).outcome is Outcome.PASS
    assert Requirement.parse(f"certified@{RADII[0]}<=1").decide(run).outcome is Outcome.PASS
    assert Requirement.parse("clean>=0.5").decide(run).outcome is Outcome.PASS
    assert Requirement.parse("clean>=0.99").decide(run).outcome is Outcome.FAIL
    assert Requirement.parse("clean>=0.9").decide(run).outcome is Outcome.INCONCLUSIVE


def test_a_missing_figure_fails(run):
    assert Requirement.parse("certified@0.5>=0").decide(run).outcome is Outcome.FAIL
    assert Requirement.parse("certified@0.0300000001>=0").decide(run).outcome is Outcome.PASS


def test_a_figure_that_is_not_a_number_fails():
    silent = audited(data=(examples(network())[0][:, :7], examples(network())[1]), plan=ATTACKS, accept=("raises",))
    for text in ("clean>=0", "clean<=1", f"certified@{RADII[0]}>=0", f"open@{RADII[0]}<=1"):
        assert Requirement.parse(text).decide(silent).outcome is Outcome.FAIL


def test_the_worst_ruling_counts():
    rulings = [Ruling("", outcome, "") for outcome in Outcome]
    assert worst(rulings) is Outcome.FAIL
    assert worst(rulings[:2]) is Outcome.INCONCLUSIVE
    assert worst(rulings[:1]) is Outcome.PASS


def test_nothing_required_is_a_usage_error(run):
    with pytest.raises(UsageError, match="nothing is required"):
        gate(run, [])


def test_a_run_is_not_worse_than_itself(run):
    rulings = gate(run, [], run)
    assert len(rulings) == 2 * len(RADII)
    assert worst(rulings) is Outcome.PASS


def test_a_worse_model_fails_against_its_baseline(run):
    spoilt = network()
    spoilt[3].bias.data[0] += 0.4
    worse = audited(spoilt, examples(network()))
    assert worst(gate(worse, [], run)) is Outcome.FAIL
    assert worst(gate(run, [], worse)) is Outcome.PASS
    assert all("lost" in r.seen for r in gate(worse, [], run))


def test_a_baseline_on_other_data_decides_nothing(run):
    other = audited(data=examples(network(), seed=5), plan=ATTACKS)
    (ruling,) = gate(run, [], other)
    assert ruling.outcome is Outcome.INCONCLUSIVE
    assert "other examples" in ruling.seen


def test_requirements_are_values():
    one = Requirement.parse("certified@0.1>=0.4")
    assert replace(one, value=0.5) != one
    assert issubclass(UsageError, BrinellError)
