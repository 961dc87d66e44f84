import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import brinell
from brinell.auditing.work import Shard, ShardResult, perform, seed_of
from brinell.evasion import PGD
from brinell.evidence import Failure, Look, Witness
from brinell.questions.evasion.engines import attacking, first_look, opinion
from brinell.targets import TargetError
from brinell.threat import Access, Linf, Threat
from questions.runs import examples, network

X, Y = examples(network(), 20)
THREAT = Threat(Linf(0.1)).within(brinell.target(network()).box)


def shard(rows=range(20)):
    rows = list(rows)
    return Shard(rows, X[rows], Y[rows], seed=7)


@given(st.sets(st.integers(0, 19), min_size=1))
def test_those_at_fault_are_found_and_the_others_are_done(bad):
    """Whichever examples the target raises on, each of the others is asked exactly once to the end."""

    def engine(target, shard, checkpoint):
        if bad & set(shard.items):
            raise TargetError("boom")
        tensors = {"x": shard.x, "x0": shard.x}
        return ShardResult(
            [Witness(i, "e", 0.0, row) for row, i in enumerate(shard.items)], tensors=tensors, forwards=1
        )

    outcome = perform(engine, None, shard(), lambda: None)
    failed = {e.item for e in outcome.evidence if isinstance(e, Failure)}
    assert failed == bad
    witnesses = [e for e in outcome.evidence if isinstance(e, Witness)]
    assert sorted(w.item for w in witnesses) == sorted(set(range(20)) - bad)
    for w in witnesses:
        assert torch.equal(outcome.tensors["x"][w.row], X[w.item])


def test_halves_have_seeds_of_their_own():
    first, second = shard().halves()
    assert (*first.items, *second.items) == tuple(range(20))
    assert len({shard().seed, first.seed, second.seed}) == 3


def test_an_attack_becomes_witnesses_with_what_the_target_says_of_them():
    target = brinell.target(network())
    outcome = perform(attacking(PGD(steps=5), "PGD", THREAT), target, shard(), lambda: None)
    assert outcome.evidence
    assert outcome.forwards >= 20
    assert outcome.seconds > 0
    for w in outcome.evidence:
        assert w.predicted == target.labels(outcome.tensors["x"])[w.row]
        assert 0 < w.confidence <= 1
        assert w.predicted != Y[w.item]


def test_the_first_look_tells_of_every_example():
    outcome = first_look("Clean", THREAT)(brinell.target(network()), shard(), lambda: None)
    looks = [e for e in outcome.evidence if isinstance(e, Look)]
    witnesses = [e for e in outcome.evidence if isinstance(e, Witness)]
    assert [look.item for look in looks] == list(range(20))
    assert {w.item for w in witnesses} == {look.item for look in looks if look.predicted != Y[look.item]}
    assert all(w.distance == 0 for w in witnesses)


def test_the_same_shard_gives_the_same_evidence():
    target = brinell.target(network())
    one, two = (perform(attacking(PGD(), "PGD", THREAT), target, shard(), lambda: None) for _ in range(2))
    assert one.evidence == two.evidence
    assert all(torch.equal(one.tensors[k], two.tensors[k]) for k in ("x", "x0"))


def test_what_stops_a_checkpoint_stops_the_shard():
    class Enough(Exception):
        pass

    def stop():
        raise Enough

    with pytest.raises(Enough):
        perform(attacking(PGD(), "PGD", THREAT), brinell.target(network()), shard(), stop)


def test_an_opinion_is_as_much_as_is_seen():
    target = brinell.target(network())
    label, confidence = opinion(target, X)[0]
    assert label == target.labels(X)[0]
    assert confidence == pytest.approx(float(network()(X).detach()[0].softmax(0).max()), abs=1e-5)
    assert opinion(target.restrict(Access.LABELS), X)[0] == (label, None)
    probabilities = torch.nn.Sequential(network(), torch.nn.Softmax(1))
    assert opinion(brinell.target(probabilities), X)[0][1] == pytest.approx(confidence, abs=1e-5)
    nowhere = torch.nn.Sequential(network(), torch.nn.Threshold(1e9, torch.nan))
    assert opinion(brinell.target(nowhere), X)[0] == (None, None)


def test_seeds_follow_from_names():
    assert seed_of(0, "a", "b") == seed_of(0, "a", "b")
    assert len({seed_of(0, "ab", "c"), seed_of(0, "a", "bc"), seed_of(1, "a", "bc")}) == 3
    assert 0 <= seed_of("x") < 2**63
