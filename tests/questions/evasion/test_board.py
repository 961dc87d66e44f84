from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brinell.auditing.plan import LOOK
from brinell.errors import Contradiction
from brinell.evidence import Certificate, Evidence, Failure, Soundness, State, Witness
from brinell.questions.evasion import EvasionBoard

RADII = (0.1, 0.2, 0.3, 0.4)


@st.composite
def evidence(draw) -> list[Evidence]:
    """What consistent engines may show: below a true distance only proofs, from it on only witnesses."""
    found: list[Evidence] = []
    for item in range(5):
        true = draw(st.sampled_from((0.0, 0.15, 0.2, 0.35, 9.0)))
        for value in draw(st.lists(st.sampled_from((0.0, 0.1, 0.15, 0.2, 0.3, 0.4)), max_size=4)):
            certificate = Certificate(item, f"c{value}", value, 1.0, draw(st.sampled_from(Soundness)))
            found.append(certificate if value < true else Witness(item, f"w{value}", value))
        if draw(st.booleans()):
            found.append(Failure(item, LOOK, "raised"))
    return found


@given(evidence(), st.randoms(use_true_random=False))
def test_the_order_of_evidence_changes_no_bracket(found, random):
    boards = []
    for _ in range(2):
        board = EvasionBoard(5)
        for e in found:
            board.add(e)
        boards.append([board.bracket(r) for r in RADII])
        random.shuffle(found)
    assert boards[0] == boards[1]


@given(evidence())
def test_edges_fall_with_the_radius(found):
    board = EvasionBoard(5)
    for e in found:
        board.add(e)
    brackets = [board.bracket(r) for r in RADII]
    for near, far in pairwise(brackets):
        assert far.certified_count <= near.certified_count
        assert far.broken_count >= near.broken_count
        if near.n and far.n:
            assert far.certified <= near.certified
            assert far.unbroken <= near.unbroken


@given(evidence())
def test_evidence_only_narrows(found):
    board = EvasionBoard(5)
    before = board.bracket(0.2)
    for e in found:
        board.add(e)
        after = board.bracket(0.2)
        assert after.certified_count >= before.certified_count
        assert after.broken_count >= before.broken_count
        before = after


@given(evidence())
def test_what_is_open_is_what_has_no_verdict(found):
    board = EvasionBoard(5)
    for e in found:
        board.add(e)
    for radius in RADII:
        states = [v.state for v in board.verdicts(radius)]
        assert list(board.open(radius)) == [i for i, s in enumerate(states) if s is State.OPEN]
        assert set(board.proved(radius)) == {i for i, s in enumerate(states) if s is State.CERTIFIED}


@pytest.mark.parametrize("order", [1, -1])
def test_a_witness_within_a_certificate_is_a_contradiction(order):
    pair = [Certificate(3, "CROWN()", 0.2, 0.5), Witness(3, "PGD()", 0.2)][::order]
    board = EvasionBoard(5)
    board.add(pair[0])
    with pytest.raises(
        Contradiction, match=r"example 3 is certified by CROWN\(\) at radius 0.2 \(real\) and broken by PGD"
    ):
        board.add(pair[1])


def test_the_nearest_witness_and_the_farthest_certificate_are_kept():
    board = EvasionBoard(1)
    for e in (Witness(0, "a", 0.3), Witness(0, "b", 0.2), Witness(0, "c", 0.25), Certificate(0, "d", 0.1, 1.0)):
        board.add(e)
    assert board.verdict(0, 0.2).engine == "b"
    assert board.verdict(0, 0.2).distance == 0.2
    assert board.verdict(0, 0.1).engine == "d"
    assert board.verdict(0, 0.15).state is State.OPEN


def test_only_the_first_look_makes_an_error():
    board = EvasionBoard(2)
    board.add(Failure(0, LOOK, "raised"))
    board.add(Failure(1, "PGD()", "raised"))
    assert [v.state for v in board.verdicts(0.1)] == [State.ERROR, State.OPEN]
    assert board.bracket(0.1).errors == 1
    assert board.bracket(0.1, [1]).open == 1


def test_an_example_counts_at_the_strongest_level_that_reaches_the_radius():
    board = EvasionBoard(4)
    board.add(Certificate(0, "a", 0.3, 1.0, Soundness.REAL))
    board.add(Certificate(0, "b", 0.1, 1.0, Soundness.FLOAT32))
    board.add(Certificate(1, "a", 0.2, 1.0, Soundness.FLOAT64))
    board.add(Certificate(2, "a", 0.2, 1.0, Soundness.FLOAT32))
    counts = {radius: tuple(board.soundness(radius).values()) for radius in (0.1, 0.2, 0.3)}
    assert counts == {0.1: (2, 1, 0), 0.2: (1, 1, 1), 0.3: (0, 0, 1)}
    assert list(board.soundness(0.1)) == [Soundness.FLOAT32, Soundness.FLOAT64, Soundness.REAL]
    assert board.soundness(0.1, [1, 3]) == {Soundness.FLOAT32: 0, Soundness.FLOAT64: 1, Soundness.REAL: 0}


def test_a_contradiction_says_what_the_certificate_assumes():
    board = EvasionBoard(1)
    board.add(Certificate(0, "CROWN()", 0.2, 1.0, Soundness.REAL))
    with pytest.raises(Contradiction, match=r"certified by CROWN\(\) at radius 0.2 \(real\) and broken"):
        board.add(Witness(0, "PGD()", 0.1))


@given(evidence())
def test_levels_add_up_to_what_is_certified(found):
    board = EvasionBoard(5)
    for e in found:
        board.add(e)
    for radius in RADII:
        assert sum(board.soundness(radius).values()) == board.bracket(radius).certified_count


def test_where_a_level_is_asked_for_weaker_certificates_leave_their_examples_open():
    board = EvasionBoard(3, Soundness.FLOAT64)
    for item, level in enumerate(Soundness):
        board.add(Certificate(item, "a", 0.2, 1.0, level))
    assert [v.state for v in board.verdicts(0.1)] == [State.OPEN, State.CERTIFIED, State.CERTIFIED]
    assert board.open(0.1).tolist() == [0]
    assert board.bracket(0.1).certified_count == 2
    assert tuple(board.soundness(0.1).values()) == (1, 1, 1)
    board.add(Witness(0, "PGD()", 0.1))  # what it left out may have made it
    assert board.verdict(0, 0.2).state is State.BROKEN
    with pytest.raises(Contradiction):
        board.add(Witness(1, "PGD()", 0.1))


@given(evidence(), st.sampled_from(Soundness))
def test_asking_for_more_certifies_no_more(found, level):
    lax, strict = EvasionBoard(5), EvasionBoard(5, level)
    for e in found:
        lax.add(e)
        strict.add(e)
    for radius in RADII:
        assert set(strict.proved(radius)) <= set(lax.proved(radius))
        assert strict.bracket(radius).broken_count == lax.bracket(radius).broken_count
