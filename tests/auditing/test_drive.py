import sqlite3
from dataclasses import dataclass

import pytest
import torch

import brinell.proofs
from brinell import Audit
from brinell.auditing import Plan, Stage
from brinell.errors import Contradiction, UsageError
from brinell.proofs import Verifier
from brinell.questions.evasion.sharpen import SHARD
from brinell.threat import Linf
from questions.runs import ATTACKS, QUICK, RADII, audited, examples, network, tables, threat

CHALLENGE = Plan(
    name="challenge",
    stages=(
        Stage(engine="Clean"),
        Stage(engine="PGD", settings={"steps": 4}, on="certified"),
        Stage(engine="IBP"),
        Stage(engine="PGD", settings={"steps": 5}, on="certified"),
    ),
    shard=32,
)


@dataclass(frozen=True, kw_only=True)
class Lying(Verifier):
    """Proves whatever it is asked."""

    def __call__(self, graph, x0, set, spec, checkpoint=lambda: None):
        return torch.ones(spec.shape[:2], dtype=torch.float64)


def test_a_witness_inside_a_certificate_stops_the_run_and_both_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(brinell.proofs, "IBP", Lying)
    with pytest.raises(Contradiction, match=rf"certified by IBP\(\) .* broken by PGD.* both are kept in {tmp_path}"):
        audited(out=tmp_path, plan=CHALLENGE)
    kinds = {}
    for _, item, _, _, kind, *_ in tables(tmp_path)["evidence"]:
        kinds.setdefault(item, set()).add(kind)
    assert any({"witness", "certificate"} <= known for known in kinds.values())
    for again in (lambda: audited(out=tmp_path, plan=CHALLENGE), lambda: Audit.open(tmp_path)):
        with pytest.raises(Contradiction):
            again()


def test_a_certificate_written_by_hand_is_not_believed_over_a_witness(tmp_path):
    run = audited(out=tmp_path, plan=ATTACKS)
    broken = next(v for v in run.verdicts if v.engine != "Clean()" and v.distance is not None)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        row = ("evasion/linf/untargeted", broken.item, "Hand()", "x", "certificate", 1.0, None, '{"bound": 1}')
        db.execute("INSERT INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?, json_set(?, '$.soundness', 'real'))", row)
    db.close()
    with pytest.raises(Contradiction, match=rf"example {broken.item} .*Hand"):
        audited(out=tmp_path, plan=ATTACKS)


def test_what_is_proved_can_be_challenged(tmp_path):
    """Before there are proofs nobody is asked, and afterwards all that are proved at that radius."""
    run = audited(out=tmp_path, plan=CHALLENGE)
    engines = {e.engine: e for e in run.evasion.engines}
    assert "PGD(steps=4) on the certified" not in engines
    challenge = engines["PGD(steps=5) on the certified"]
    assert challenge.asked == sum(r.counts["certified"] for r in run.evasion.radii)
    assert challenge.settled == 0


def test_a_challenge_before_its_proofs_is_not_made_up_for_when_a_run_is_taken_up(tmp_path):
    audited(out=tmp_path, plan=CHALLENGE)
    before = tables(tmp_path)
    audited(out=tmp_path, plan=CHALLENGE)
    assert tables(tmp_path) == before


@dataclass(frozen=True)
class Boxy(Linf.__mro__[1]):  # type: ignore[misc]
    """linf under a name that no engine knows."""

    name = "boxy"
    radius: float
    inner: Linf | None = None

    def __post_init__(self):
        object.__setattr__(self, "inner", self.inner or Linf(self.radius))

    @property
    def box(self):
        return self.inner.box

    def within(self, box):
        return Boxy(self.radius, self.inner.within(box))

    def resized(self, radius):
        return Boxy(radius, self.inner.resized(radius))

    def distance(self, x0, x):
        return self.inner.distance(x0, x)

    def project(self, x0, x):
        return self.inner.project(x0, x)

    def sample(self, x0, rng):
        return self.inner.sample(x0, rng)

    def steepest(self, g):
        return self.inner.steepest(g)

    def hull(self, x0):
        return self.inner.hull(x0)

    def minimum(self, x0, a):
        return self.inner.minimum(x0, a)


def test_an_engine_that_does_not_answer_for_the_set_is_left_out_with_a_note():
    run = audited(threat=threat(kind=Boxy))
    assert [note for note in run.result.notes if "left out" in note] == [
        "Square(queries=10) left out: it answers for linf and l2 only"
    ]
    assert run.evasion.radii[0].set == "boxy"
    assert 0 < run.bracket.certified <= run.bracket.unbroken < run.evasion.clean


def test_a_setting_that_does_not_fit_is_refused_before_anything_is_asked(tmp_path):
    plan = QUICK.model_copy(update={"stages": (*QUICK.stages, Stage(engine="APGD", settings={"stepz": 3}))})
    asked = []
    with pytest.raises(UsageError, match="APGD has no setting 'stepz'"):
        audited(out=tmp_path, plan=plan, on_progress=asked.append)
    assert not asked


def test_a_plan_that_proves_nothing_reads_no_network(monkeypatch):
    def read(*_):
        raise AssertionError("the network was read")

    monkeypatch.setattr("brinell.questions.evasion.evasion.graph_of", read)
    audited(plan=ATTACKS)
    with pytest.raises(AssertionError, match="the network was read"):
        audited(plan=QUICK)


def test_progress_rises_to_the_end():
    steps = []
    audited(plan=ATTACKS, on_progress=steps.append)
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    assert all(0 < s.done <= s.total for s in steps)
    assert {s.at for s in steps} == {f"{radius:g}" for radius in RADII}


def test_attacks_go_up_and_proofs_go_down_the_radii():
    seen = {}
    audited(on_progress=lambda s: seen.setdefault(s.stage.label, []).append(s.at))
    assert seen["PGD(steps=4)"] == sorted(seen["PGD(steps=4)"])
    assert seen["IBP()"] == sorted(seen["IBP()"], reverse=True)
    assert set(seen["Clean()"]) == {f"{RADII[0]:g}"}


def test_a_shard_is_the_same_alone_and_among_others(tmp_path):
    """Its seed and its examples are its own: what follows it in the data changes nothing."""
    x, y = examples(network())
    audited(data=(x, y), out=tmp_path / "all", plan=ATTACKS)
    audited(data=(x[:64], y[:64]), out=tmp_path / "some", plan=ATTACKS)
    few = [row for row in shown(tmp_path / "all") if row[1] < 64]
    assert few == shown(tmp_path / "some")


def shown(path):
    """What the stages left: which witnesses are sharpened once they have ended is a question about the whole run."""
    return [row for row in tables(path)["evidence"] if row[3] != SHARD]
