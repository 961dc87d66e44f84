"""A smoothed target audited: its certificates are of another kind, and every face says so."""

import pytest

import brinell
from brinell import Audit
from brinell.auditing import Plan, Requirement, Stage
from brinell.errors import UsageError
from brinell.questions.evasion import alone
from brinell.questions.evasion.estimate import estimate
from brinell.questions.evasion.page.words import chance
from brinell.report import render
from brinell.targets import Gaussian, smoothed
from brinell.threat import L2, Linf, Threat
from questions.runs import examples, network

PLAN = Plan(
    name="votes",
    stages=(Stage(engine="Clean"), Stage(engine="Smoothing", settings={"draws": 800, "alpha": 0.001})),
    shard=16,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Audit:
    target = smoothed(brinell.target(network()), Gaussian(0.05), votes=100)
    x, _ = examples(network(), 24)
    folder = tmp_path_factory.mktemp("votes") / "run"
    threat, data = Threat(L2(0.1)), (x, target.labels(x))
    return brinell.audit(target, data, threat, PLAN, out=folder, radii=(0.02, 0.1), workers=1)


def test_certificates_by_vote_are_counted_apart(run: Audit) -> None:
    near, far = run.at(0.02), run.at(0.1)
    assert near.certified_count == near.probable_count > 0
    assert far.certified_count <= near.certified_count
    assert run.evasion.radii[0].probable == near.probable_count
    assert sum(run.evasion.radii[0].soundness.values()) == 0  # they are no proofs
    assert {v.alpha for v in run.verdicts_at(0.02) if v.state == "certified"} == {0.001}


def test_the_union_bound_is_over_all_that_were_asked(run: Audit) -> None:
    stage = run.evasion.engines[1]
    assert stage.kind == "vote"
    assert stage.asked >= 24  # at the larger radius all, at the smaller those that are still open
    assert run.evasion.failure == pytest.approx(0.001 * stage.asked)


def test_the_page_and_the_terminal_say_that_it_is_a_vote(run: Audit) -> None:
    said = chance(run.evasion)
    assert "rest on votes over random noise, not on proofs: with probability at least" in said
    page = render(run)
    assert said in page
    assert "(proved)" not in page
    assert "a proof, or a vote as said above, shows" in page
    assert "certified … " in repr(run)
    assert f"{run.bracket.probable_count} certified by vote" in repr(run)
    assert Audit.open(run.path).result == run.result


def test_of_a_plain_target_smoothing_says_nothing() -> None:
    run = brinell.audit(brinell.target(network()), examples(network(), 8), Threat(L2(0.1)), PLAN, workers=1)
    assert run.bracket.certified_count == 0
    assert any("Smoothing(draws=800, alpha=0.001) left out: it speaks of votes" in note for note in run.result.notes)
    assert chance(run.evasion) == ""


def test_another_set_is_held_by_a_ball_around_it() -> None:
    target = smoothed(brinell.target(network()), Gaussian(0.1), votes=100)
    x, _ = examples(network(), 8)
    run = brinell.audit(target, (x, target.labels(x)), Threat(Linf(0.01)), PLAN, workers=1)
    board = run.answers["evasion"].board
    assert board.statements
    for statement in board.statements.values():
        assert statement.radius <= 0.01
        assert statement.draws <= 800


def test_an_estimate_is_no_stage() -> None:
    with pytest.raises(UsageError, match="RandomProjection is an estimate: it proves nothing"):
        Stage(engine="RandomProjection").row  # noqa: B018 - an unknown engine is refused here


def test_a_proof_is_no_attack_alone() -> None:
    with pytest.raises(UsageError, match="Smoothing is a proof"):
        alone(PLAN.stages[1], brinell.target(network()), brinell.Dataset.of(*examples(network(), 4)), Threat(L2(0.1)))


def test_a_gate_says_what_a_figure_rests_on(run: Audit) -> None:
    certified, unbroken = (Requirement.parse(f"{figure}@0.02>=0.1").decide(run) for figure in ("certified", "unbroken"))
    assert f"{run.at(0.02).probable_count} by votes, of which some are wrong with probability at most" in certified.seen
    assert "votes" not in unbroken.seen


def test_what_a_vote_may_cost_is_told_before() -> None:
    base = brinell.target(network())
    data = brinell.Dataset.of(*examples(network(), 10))
    for target, rows, why in ((smoothed(base, Gaussian(0.1)), 2 * 10 * 900, None), (base, 0, "it speaks of votes")):
        cost = estimate(PLAN, target, data, L2(0.1), 2)[1]
        assert cost.rows == rows
        assert (cost.left_out or "").startswith(why or "")


def test_a_statement_that_falls_short_of_the_radius_asked_about_is_kept_for_smaller_ones(run: Audit) -> None:
    radii = [statement.radius for statement in run.answers["evasion"].board.statements.values()]
    assert any(0.02 < radius < 0.1 for radius in radii)
    assert {0.02, 0.1} <= set(radii)


def test_where_a_level_of_arithmetic_is_asked_for_votes_have_none() -> None:
    target = smoothed(brinell.target(network()), Gaussian(0.05), votes=100)
    run = brinell.audit(target, examples(network(), 4), Threat(L2(0.02)), PLAN.demanding("float64"), workers=1)
    assert run.bracket.certified_count == 0
    assert any("Smoothing" in note and "counts from float64-any-order on" in note for note in run.result.notes)
