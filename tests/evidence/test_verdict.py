"""Three kinds of statement that nothing may take for one another."""

import pytest
import torch

from brinell.auditing.ledger import Ledger, Work
from brinell.errors import UsageError
from brinell.evidence import Certificate, Estimate, Evidence, Failure, ProbabilisticCertificate, Witness, check_evidence
from brinell.questions.evasion import EvasionBoard as Board

ESTIMATE = Estimate(torch.ones(1, 1, dtype=torch.float64), "a guess")
WORK = Work("q", "e", "s", 0, "0.1", 1, 1, 0, 0, 0, 0.0)


def test_an_estimate_is_no_evidence_by_its_type() -> None:
    assert not isinstance(ESTIMATE, Evidence)
    with pytest.raises(TypeError):
        ESTIMATE > 0  # noqa: B015 - it has no order


def test_an_estimate_cannot_enter_a_bracket_at_run_time(tmp_path) -> None:
    board = Board(1)
    with pytest.raises(UsageError, match=r"an estimate \(a guess\) is no evidence"):
        board.add(ESTIMATE)
    assert board.bracket(0.0).certified_count == 0
    with Ledger(tmp_path) as ledger, pytest.raises(UsageError, match="is no evidence"):
        ledger.record(WORK, [ESTIMATE])
    with pytest.raises(UsageError, match="Tensor is no evidence"):
        check_evidence(ESTIMATE.values)
    for evidence in (Witness(0, "a", 0.1), Certificate(0, "b", 0.1, 1.0), Failure(0, "c", "")):
        check_evidence(evidence)


def test_a_probabilistic_certificate_keeps_its_chance_in_the_ledger(tmp_path) -> None:
    kept = ProbabilisticCertificate(0, "e", 0.25, 0.001, 1000)
    with Ledger(tmp_path) as ledger:
        ledger.record(WORK, [kept])
        assert list(ledger.evidence("q", {kept.kind: type(kept)})) == [kept]


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_a_certain_one_is_another_type(alpha: float) -> None:
    with pytest.raises(UsageError, match="alpha is"):
        ProbabilisticCertificate(0, "e", 0.25, alpha, 1000)


@pytest.mark.parametrize("order", [1, -1])
def test_a_witness_within_a_probabilistic_certificate_stands_and_is_told(order: int) -> None:
    board = Board(3)
    for e in [ProbabilisticCertificate(0, "v", 0.2, 0.01, 9), Witness(0, "a", 0.1)][::order]:
        board.add(e)
    board.add(ProbabilisticCertificate(1, "v", 0.2, 0.01, 9))
    board.add(ProbabilisticCertificate(2, "v", 0.1, 0.01, 9))
    board.add(Certificate(2, "p", 0.2, 1.0))
    assert [v.state for v in board.verdicts(0.2)] == ["broken", "certified", "certified"]
    assert [v.alpha for v in board.verdicts(0.2)] == [None, 0.01, None]
    bracket = board.bracket(0.2)
    assert (bracket.broken_count, bracket.certified_count, bracket.probable_count) == (1, 2, 1)
    assert board.contested() == 1
    assert list(board.open(0.2)) == []
    assert list(board.proved(0.2)) == [2]
