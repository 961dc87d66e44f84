import pytest
from scipy.stats import binomtest

from brinell.auditing import compare
from brinell.errors import CannotRun
from brinell.evidence import State
from brinell.threat import L2
from questions.runs import ATTACKS, RADII, audited, examples, network, threat

X, Y = examples(network())


@pytest.fixture(scope="module")
def pair():
    shifted = network()
    shifted[3].bias.data += 0.1 * shifted[3].bias.data.new_tensor([1, 0, -1])
    return audited(data=(X, Y)), audited(shifted, (X, Y))


@pytest.mark.slow
def test_identical_runs_do_not_differ(pair):
    for d in compare(pair[0], pair[0]):
        assert (d.gained, d.lost, d.p_value, d.worse_p_value) == (0, 0, 1.0, 1.0)
        assert d.before == d.after
        assert d.n == 150
    assert [(d.figure, float(d.at)) for d in compare(*pair)] == [
        (e, r) for r in RADII for e in ("certified", "unbroken")
    ]


def test_swapped_runs_mirror(pair):
    for there, back in zip(compare(*pair), compare(*pair[::-1]), strict=True):
        assert (there.gained, there.lost) == (back.lost, back.gained)
        assert (there.before, there.after) == (back.after, back.before)
        assert there.p_value == back.p_value
        assert there.n == back.n
    assert any(d.gained + d.lost for d in compare(*pair))


def test_counts_and_p_values_are_those_of_the_pairs(pair):
    before, after = pair
    for d in compare(before, after):
        holds = {
            "certified": lambda v: v.state is State.CERTIFIED,
            "unbroken": lambda v: v.state is not State.BROKEN,
        }[d.figure]
        sides = [[holds(v) for v in run.verdicts_at(float(d.at))] for run in pair]
        gained = sum(b and not a for a, b in zip(*sides, strict=True))
        lost = sum(a and not b for a, b in zip(*sides, strict=True))
        assert (d.gained, d.lost) == (gained, lost)
        if gained + lost:
            assert d.p_value == binomtest(lost, gained + lost).pvalue
            assert d.worse_p_value == binomtest(lost, gained + lost, alternative="greater").pvalue
        assert d.after - d.before == pytest.approx((gained - lost) / d.n)


def test_examples_are_paired_by_what_they_are(pair):
    """Row numbers alone do not make two examples the same, and a part of the data is compared with the same part."""
    part = audited(data=(X[:50], Y[:50]), plan=ATTACKS)
    assert {d.n for d in compare(pair[0], part)} == {50}
    with pytest.raises(CannotRun, match="other examples"):
        compare(pair[0], audited(data=(X.flip(0), Y.flip(0)), plan=ATTACKS))
    with pytest.raises(CannotRun, match="other examples"):
        compare(pair[0], audited(data=(X, (Y + 1) % 3), plan=ATTACKS, accept=("low-accuracy",)))


def test_only_shared_radii_are_compared(pair):
    """At a radius that one run never asked about, its silence is no robustness."""
    one = audited(data=(X, Y), radii=[RADII[1], 0.2], plan=ATTACKS)
    assert {float(d.at) for d in compare(pair[0], one)} == {RADII[1]}
    with pytest.raises(CannotRun, match=r"other radii: 0\.01, 0\.03, 0\.06; 0\.2"):
        compare(pair[0], audited(data=(X, Y), radii=[0.2], plan=ATTACKS))


def test_other_threats_are_not_compared(pair):
    with pytest.raises(CannotRun, match="different threats"):
        compare(pair[0], audited(data=(X, Y), threat=threat(kind=L2), plan=ATTACKS))
