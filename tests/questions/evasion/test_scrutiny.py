"""One honesty through every door: preflight and diagnosis belong to the audit, wherever it is called from."""

import json
from functools import partial

import pytest
from torch import Tensor, nn

import brinell
from brinell import Audit
from brinell.auditing import Plan, Stage
from brinell.errors import Inconclusive
from brinell.questions.evasion import scrutiny
from brinell.threat import Access
from questions.runs import ATTACKS, RADII, examples, network, threat
from questions.runs import audited as audited_alone

CLEAN = Plan(name="clean", stages=(Stage(engine="Clean"),))
PROOFS = Plan(name="proofs", stages=(Stage(engine="Clean"), Stage(engine="IBP")))

audited = partial(audited_alone, diagnose=True)


class Rounded(nn.Module):
    """The small network behind a rounding step: no gradient comes through."""

    def __init__(self, levels: int = 50) -> None:
        super().__init__()
        self.inner, self.levels = network(), levels

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x * self.levels).round() / self.levels)


class Crooked(nn.Module):
    """The small network, whose gradient is there and points elsewhere: only a diagnosis sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor) -> Tensor:
        coarse = (x * 50).round() / 50
        return self.inner(coarse.detach() + 1e-3 * (x - x.detach()))


def codes(run: Audit) -> dict[str, bool]:
    return {f.code: f.accepted for f in run.findings}


def test_a_severe_finding_of_the_preflight_stops_the_call_and_leaves_nothing(tmp_path):
    with pytest.raises(Inconclusive, match=r"zero-gradients.*accept=\('zero-gradients',\)"):
        audited(Rounded(), plan=ATTACKS, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(Inconclusive, match="zero-gradients"):
        brinell.verify(brinell.target(Rounded()), examples(network()), threat(), workers=1)


def test_what_is_accepted_stands_beside_the_bracket_everywhere(tmp_path):
    run = audited(Rounded(), plan=ATTACKS, out=tmp_path, accept=("zero-gradients",))
    assert codes(run)["zero-gradients"] is True
    assert "severe, accepted: zero-gradients" in repr(run)
    assert "severe, accepted: zero-gradients" in run._repr_html_()
    kept = json.loads((tmp_path / "result.json").read_text())
    assert [f["accepted"] for f in kept["answers"]["evasion"]["findings"] if f["code"] == "zero-gradients"] == [True]
    assert Audit.open(tmp_path).findings == run.findings


def test_what_the_adversary_cannot_see_is_no_finding():
    """A hidden gradient is nothing to an adversary who asks for labels."""
    blind = brinell.Threat(brinell.Linf(RADII[-1]), access=Access.LABELS)
    assert "zero-gradients" not in codes(audited(Rounded(), plan=ATTACKS, threat=blind, radii=None))


@pytest.mark.slow
def test_the_diagnosis_speaks_in_python_too():
    run = audited(Crooked(), plan=ATTACKS)
    assert codes(run)["masked"] is False
    assert "severe: masked" in repr(run)
    assert codes(audited(Crooked(), plan=ATTACKS, accept=("masked",)))["masked"] is True
    assert not any(f.severity == "severe" for f in audited(plan=ATTACKS).findings)


def test_nothing_is_looked_at_twice(tmp_path, monkeypatch):
    asked = []
    for name in ("look", "diagnosing"):
        inner = getattr(scrutiny, name)
        monkeypatch.setattr(
            scrutiny, name, lambda *a, inner=inner, name=name, **k: (asked.append(name), inner(*a, **k))[1]
        )
    first = audited(Crooked(), plan=ATTACKS, out=tmp_path, accept=("masked",))
    again = audited(Crooked(), plan=ATTACKS, out=tmp_path)
    assert asked == ["look", "diagnosing"]
    assert again.findings == first.findings, "what was accepted stays so"


@pytest.mark.parametrize("plan", [CLEAN, PROOFS])
def test_without_an_attack_there_is_nothing_to_put_to_the_test(plan):
    run = audited(plan=plan)
    assert run.evasion.diagnosis is None
    assert scrutiny.NO_ATTACK in run.result.notes


@pytest.mark.slow
def test_a_budget_that_does_not_suffice_says_so_and_the_rest_is_done_later(tmp_path):
    """Of a diagnosis that is cut short the tests that were done stand, and the others are named."""
    whole = audited(plan=ATTACKS)
    assert whole.evasion.diagnosis.left == ()
    cut = audited(plan=ATTACKS, out=tmp_path, budget=0.0)
    assert cut.evasion.diagnosis is None or cut.evasion.diagnosis.left
    done = audited(plan=ATTACKS, out=tmp_path)
    assert done.evasion.diagnosis == whole.evasion.diagnosis
    assert done.findings == whole.findings


def test_findings_of_hostile_models_stay_words():
    class Hostile(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if (x[:, 0] > 0.9).any():
                raise RuntimeError("<script>alert(1)</script>\x1b[31m")
            return network()(x)

    run = audited(Hostile(), plan=CLEAN)
    assert "raises" in codes(run)
    assert "<script>" not in run._repr_html_()
    assert "\x1b" not in repr(run)
