"""Engines that settle both ways: witnesses through the judge, certificates from the trees."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import brinell
from brinell.auditing import Plan, Stage
from brinell.data import Dataset
from brinell.errors import CannotRun
from brinell.evidence import Certificate, Soundness, Witness
from brinell.proofs import ExactTrees, Forest, forest_of
from brinell.proofs.exact.forest import Tree
from brinell.questions.evasion import alone
from brinell.questions.evasion.settle import settle
from brinell.threat import LEAST_LIKELY, Access, Box, Linf, Threat
from brinell.threat.goal import met

RADII = (0.02, 0.1, 0.3)
MODELS = {
    "tree": DecisionTreeClassifier(max_depth=6, random_state=0),
    "forest": RandomForestClassifier(5, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=4, random_state=0),
}


def problem(name, n=60):
    rng = np.random.default_rng(0)
    x = rng.random((300, 4)).astype(np.float32)
    y = np.digitize(x.sum(1), [1.7, 2.3])
    return brinell.target(MODELS[name].fit(x, y)), (torch.from_numpy(x[:n]), torch.from_numpy(y[:n]))


def exactly(**settings) -> Plan:
    return Plan(name="exact", stages=(Stage(engine="Clean"), Stage(engine="ExactTrees", settings=settings)), shard=16)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", MODELS)
def test_the_standard_plan_closes_the_bracket_of_a_few_trees(name):
    target, data = problem(name)
    run = brinell.audit(target, data, Threat(Linf(0.3)), radii=RADII, workers=1)
    exact = brinell.audit(target, data, Threat(Linf(0.3)), exactly(), radii=RADII, workers=1)
    for radius in RADII:
        assert run.at(radius).open_count == 0
        assert run.at(radius) == exact.at(radius)
    assert 0 < exact.at(0.1).certified_count < len(data[0])


def test_a_witness_and_a_certificate_of_one_example_are_both_kept():
    target, data = problem("forest")
    run = brinell.audit(target, data, Threat(Linf(0.3)), exactly(), radii=RADII, workers=1)
    both = [
        item for item in run.answers["evasion"].board.certificates if item in run.answers["evasion"].board.witnesses
    ]
    assert both
    for item in both:
        witness, certificate = (
            run.answers["evasion"].board.witnesses[item],
            run.answers["evasion"].board.certificates[item],
        )
        assert isinstance(witness, Witness)
        assert isinstance(certificate, Certificate)
        assert certificate.soundness is Soundness.FLOAT64
        assert certificate.bound > 0
        assert witness.distance * (1 - 1e-9) <= certificate.radius < witness.distance
    reopened = brinell.Audit.open(run.path)
    assert [reopened.at(r) for r in RADII] == [run.at(r) for r in RADII]


def test_an_engine_that_lies_about_a_witness_is_not_believed():
    """The search is given other trees than the target's: its certificates are wrong, but no witness of it stands."""
    target, (x, y) = problem("tree")
    true = forest_of(target)
    (tree,) = true.trees
    turned = Forest((Tree(tree.above, tree.upto, tree.scores[:, ::-1].copy()),), true.constant, true.features)
    found, nearest = settle(ExactTrees(), turned, target, x, y, Threat(Linf(0.1)).within(target.box))
    assert met(target.scores(found.x), y, None)[found.broken].all()
    assert not found.broken.all()
    assert not found.broken[nearest.distance.isinf()].any()


def test_only_so_many_regions_leave_a_certificate_that_attacks_do_not_contradict():
    target, data = problem("boosting")
    few = brinell.audit(target, data, Threat(Linf(0.3)), exactly(nodes=3), radii=RADII, workers=1)
    whole = brinell.audit(target, data, Threat(Linf(0.3)), exactly(), radii=RADII, workers=1)
    assert any(few.at(r).open_count for r in RADII)
    for radius in RADII:
        assert few.at(radius).certified <= whole.at(radius).certified
        assert few.at(radius).unbroken >= whole.at(radius).unbroken


def test_an_adversary_who_may_not_see_the_trees_leaves_them_unread():
    target, data = problem("forest")
    for threat, seen in (
        (Threat(Linf(0.1)), target.restrict(Access.SCORES)),
        (Threat(Linf(0.1), access=Access.SCORES), target),
    ):
        run = brinell.audit(seen, data, threat, exactly(), workers=1)
        assert run.bracket.certified_count == 0
        assert any("ExactTrees() left out: only SCORES are seen" in note for note in run.result.notes)
    with pytest.raises(CannotRun, match="shows SCORES, not its trees"):
        forest_of(target.restrict(Access.SCORES))


def test_a_model_that_is_no_trees_is_left_to_the_attacks():
    x = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    target = brinell.target(LogisticRegression().fit(x, np.arange(50) % 2))
    run = brinell.audit(target, (torch.from_numpy(x), torch.arange(50) % 2), Threat(Linf(0.1)), exactly(), workers=1)
    assert any("LogisticRegression is not among" in note for note in run.result.notes)


@pytest.mark.slow
def test_alone_it_gives_the_curve_over_every_radius():
    target, data = problem("forest")
    strike = alone(Stage(engine="ExactTrees"), target, Dataset.of(*data), Threat(Linf(float("inf"))))
    run = brinell.audit(target, data, Threat(Linf(0.3)), exactly(), radii=RADII, workers=1)
    for radius in RADII:
        assert strike.figures.curve.at(radius) == run.at(radius).certified
    assert (strike.found.queries >= 1).all()


def test_the_least_likely_class_is_reached_exactly():
    target, (x, y) = problem("boosting")
    threat = Threat(Linf(1.0), LEAST_LIKELY).within(Box(0.0, 1.0))
    found, nearest = settle(ExactTrees(), forest_of(target), target, x, y, threat)
    aims = LEAST_LIKELY.aims(y, target.scores(x))
    assert found.broken.any()
    assert target.scores(found.x).argmax(1).eq(aims)[found.broken].float().mean() > 0.9
    assert (nearest.certified < found.distance).all()
