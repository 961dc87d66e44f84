"""The Python face, as the README shows it."""

import numpy as np
import pytest
import torch

import brinell
from brinell.data import Dataset
from brinell.errors import UsageError
from brinell.evasion import PGD
from brinell.threat import LEAST_LIKELY, Targeted
from questions.runs import examples, network

NET = network()
X, Y = examples(NET, 60)


def test_an_audit_brackets_robust_accuracy():
    target = brinell.target(NET, box=(0, 1))
    audit = brinell.audit(target, (X, Y), brinell.Threat(brinell.Linf(0.03)), plan="quick", seed=0)
    assert 0 < audit.bracket.certified <= audit.bracket.unbroken <= audit.evasion.clean
    assert len(audit.verdicts) == 60
    assert isinstance(audit, brinell.Audit)


def test_an_attack_is_called_alone():
    target = brinell.target(NET)
    found = brinell.attack(PGD(steps=40), target, X, Y, brinell.Threat(brinell.Linf(0.06)), seed=0)
    assert found.x.shape == X.shape
    assert found.broken.any()
    assert not found.broken.all()
    assert (found.distance[found.broken] <= 0.06).all()
    assert found.distance[~found.broken].isinf().all()
    assert (found.queries >= found.gradients).all()
    assert torch.equal(found.x[~found.broken], X[~found.broken])
    again = brinell.attack(PGD(steps=40), target, X, Y, brinell.Threat(brinell.Linf(0.06)), seed=0)
    assert torch.equal(found.x, again.x)


def test_verify_is_the_audit_that_proves():
    target, threat = brinell.target(NET), brinell.Threat(brinell.Linf(0.03))
    proved, audited = (run(target, (X, Y), threat).bracket for run in (brinell.verify, brinell.audit))
    assert proved.certified >= audited.certified
    assert proved.open <= audited.open
    with pytest.raises(UsageError, match="soundness"):
        brinell.verify(target, (X, Y), threat, soundness="float16")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ((NET, (X, Y), brinell.Threat(brinell.Linf(0.03))), r"brinell\.target"),
        ((brinell.target(NET), (X, Y), brinell.Linf(0.03)), r"brinell\.Threat"),
        ((brinell.target(NET), (X,), brinell.Threat(brinell.Linf(0.03))), r"\(x, y\)"),
        ((brinell.target(NET), "digits", brinell.Threat(brinell.Linf(0.03))), r"brinell\.Dataset"),
    ],
)
def test_what_is_not_what_it_stands_for_is_refused(wrong, told):
    for run in (brinell.audit, brinell.verify):
        with pytest.raises(UsageError, match=told):
            run(*wrong)


@pytest.mark.slow
def test_arrays_lists_and_data_sets_are_the_same_examples():
    target, threat = brinell.target(NET), brinell.Threat(brinell.L2(0.1))
    brackets = [
        brinell.audit(target, data, threat, plan="quick").bracket
        for data in (
            (X, Y),
            [X, Y],
            (X.numpy(), Y.numpy().astype(np.int32)),
            (X.tolist(), Y.tolist()),
            Dataset.of(X, Y),
        )
    ]
    assert len(set(brackets)) == 1


@pytest.mark.slow
def test_normalisation_is_part_of_the_target():
    mean, std = 0.4, 0.2
    inner = network()
    with torch.no_grad():  # the same function of inputs that are normalised first
        inner[1].bias += inner[1].weight.sum(1) * mean
        inner[1].weight *= std
    threat = brinell.Threat(brinell.Linf(0.03))
    plain = brinell.audit(brinell.target(NET), (X, Y), threat, plan="quick")
    normed = brinell.audit(brinell.target(inner, mean=mean, std=std), (X, Y), threat, plan="quick")
    assert normed.bracket.certified == pytest.approx(plain.bracket.certified, abs=0.05)
    assert normed.bracket.unbroken == pytest.approx(plain.bracket.unbroken, abs=0.05)


@pytest.mark.slow
def test_goals_are_part_of_the_threat():
    target = brinell.target(NET)
    for goal in (Targeted(1), LEAST_LIKELY, brinell.LEAST_LIKELY):
        audit = brinell.audit(target, (X, Y), brinell.Threat(brinell.Linf(0.03), goal=goal), plan="quick")
        assert audit.evasion.goal == goal.label


def test_a_model_is_loaded_from_an_object_or_a_name(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text("from questions.runs import network as build\n")
    assert brinell.load(NET).describe() == brinell.load(f"{tmp_path / 'net.py'}:build").describe()


def test_a_budget_and_a_folder_are_taken(tmp_path):
    threat = brinell.Threat(brinell.Linf(0.03))
    cut = brinell.audit(brinell.target(NET), (X, Y), threat, budget=0, out=tmp_path / "run")
    assert cut.result.status == "budget"
    assert (tmp_path / "run" / "result.json").exists()
    kept = brinell.audit(brinell.target(NET), (X, Y), threat, out=tmp_path / "run").save(tmp_path / "kept")
    assert brinell.Audit.open(kept).result.status == "complete"


def test_what_is_not_a_model_is_refused():
    with pytest.raises(UsageError, match="the model is a dict"):
        brinell.target({})
