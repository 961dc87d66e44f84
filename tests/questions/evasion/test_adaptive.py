"""Stages that wait: for a suspicion that gradients mislead, or until the engine before them has paid."""

import pytest
import torch
from torch import Tensor, nn

import brinell
from brinell.auditing import Plan, Requirement, Stage, gate
from brinell.auditing.clock import Allowance, Clock, Stopped
from brinell.auditing.gate import Outcome
from brinell.auditing.ledger import Work
from brinell.questions.evasion.adaptive import due, gradients
from brinell.questions.evasion.engines import reached
from models import UNIT, affine
from questions.runs import RADII, audited, examples, network, threat

PLAN = Plan(
    name="adaptive",
    stages=(
        Stage(engine="Clean"),
        Stage(engine="PGD", settings={"steps": 4}),
        Stage(engine="Square", settings={"queries": 20}, sample=16),
        Stage(engine="Square", settings={"queries": 100}, when="suspicion"),
        Stage(engine="Square", settings={"queries": 200}, when="paying", worth=0.1),
        Stage(engine="IBP", sample=8),
        Stage(engine="IBP", when="paying", worth=0.25, shard=8),
    ),
    shard=32,
)
PROBE, CALLED, GOES_ON, TRIAL, PROOFS = range(2, 7)


class Masked(nn.Module):
    """The same decisions, behind scores whose gradient points the other way."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.detach()) - (self.net(x) - self.net(x).detach())


UNALIGNED = PLAN.model_copy(
    update={"stages": (*PLAN.stages[:3], Stage(engine="Noise", settings={"draws": 9}, sample=8, when="unaligned"))}
)


@pytest.mark.parametrize(
    ("broken", "findings", "expected"),
    [
        (0, (), True),
        (0, ("misaligned",), True),
        (0, ("aligned",), False),
        (1, ("aligned",), True),
        (0, ("aligned", "masked"), True),
    ],
)
def test_probes_that_take_long_are_asked_unless_gradients_are_known_to_be_aligned(broken, findings, expected):
    assert due(UNALIGNED, 3, "0.1", [work(PROBE, 16, broken)], findings) is expected
    assert UNALIGNED.stages[3].probes


class Waves(nn.Module):
    """Two classes whose margin swings within a radius of 0.1: gradients there point in all directions."""

    def forward(self, x: Tensor) -> Tensor:
        score = torch.sin(200 * x).flatten(1).sum(1) / 20 + (x.flatten(1).mean(1) - 0.5)
        return torch.stack((score, -score), 1)


@pytest.mark.parametrize(("net", "aligned"), [(affine(8), True), (Waves(), False)])
def test_an_audit_leaves_long_probes_out_where_its_diagnosis_found_gradients_aligned(net, aligned):
    run = audited(net, examples(net), plan=UNALIGNED, radii=(0.05,), threat=threat(0.05), diagnose=True)
    assert (spent_on(run, "Noise") == 0) is aligned
    diagnosis = run.evasion.diagnosis
    assert diagnosis is not None
    assert "misaligned" in diagnosis.checks
    assert ("misaligned" in [f.code for f in diagnosis.findings]) is not aligned
    assert {"noise", "black-box"}.isdisjoint(diagnosis.checks) is aligned


def test_without_a_diagnosis_no_probe_is_left_out():
    net = affine(8)
    data = examples(net)
    near = audited(net, data, plan=UNALIGNED, radii=(1e-4,), diagnose=False)
    assert spent_on(near, "Noise") > 0


def work(stage: int, asked: int, settled: int, radius: float = 0.1) -> Work:
    return Work("q", PLAN.stages[stage].label, f"{radius}/{stage}", stage, repr(radius), asked, settled, 0, 0, 0, 1.0)


@pytest.mark.parametrize(
    ("index", "done", "findings", "expected"),
    [
        (PROBE, [], (), True),
        (CALLED, [], (), False),
        (CALLED, [work(PROBE, 16, 0)], (), False),
        (CALLED, [work(PROBE, 16, 1)], (), True),
        (CALLED, [work(PROBE, 16, 1, radius=0.05)], (), True),
        (CALLED, [work(1, 100, 50)], (), False),
        (CALLED, [], ("masked",), True),
        (CALLED, [], ("small-sample",), False),
        (GOES_ON, [work(CALLED, 100, 9)], (), False),
        (GOES_ON, [work(CALLED, 100, 10)], (), True),
        (GOES_ON, [work(CALLED, 60, 10), work(CALLED, 60, 0)], (), False),
        (GOES_ON, [work(CALLED, 100, 50, radius=0.05)], (), False),
        (GOES_ON, [work(PROBE, 16, 16), work(CALLED, 100, 0)], ("masked",), False),
        (GOES_ON, [work(PROBE, 16, 16)], (), False),
        (PROOFS, [work(TRIAL, 8, 1)], (), False),
        (PROOFS, [work(TRIAL, 8, 2)], (), True),
        (PROOFS, [work(PROBE, 16, 16)], (), False),
    ],
)
def test_a_stage_comes_to_its_turn_by_what_is_recorded_of_the_stages_before_it(index, done, findings, expected):
    assert due(PLAN, index, "0.1", done, findings) is expected
    later = [work(stage, 10, 10) for stage in range(index, len(PLAN.stages))]
    assert due(PLAN, index, "0.1", done + later, findings) is expected, "its own work and what follows do not count"


@pytest.mark.parametrize(
    ("done", "findings", "misleading", "hidden"),
    [
        ([work(PROBE, 16, 0)], (), False, False),
        ([work(PROBE, 16, 3)], (), False, False),
        ([work(PROBE, 2, 1)], (), False, False),
        ([work(PROBE, 16, 3), work(PROBE, 16, 3, radius=0.05)], (), False, False),
        ([work(PROBE, 8, 2), work(PROBE, 8, 2)], (), True, True),
        ([work(PROBE, 16, 4)], (), True, True),
        ([work(PROBE, 16, 0)], ("masked",), True, True),
        ([work(PROBE, 16, 0), work(CALLED, 100, 50)], (), False, False),
    ],
)
def test_gradients_mislead_where_one_probe_breaks_a_quarter_at_one_radius(done, findings, misleading, hidden):
    found = gradients(PLAN, [work(1, 100, 50), *done], findings)
    assert found is not None
    assert (found.misleading, found.hidden) == (misleading, hidden)
    assert ("misleading" in found.sentence) is misleading
    assert ("honest" in found.sentence) is not misleading


def spent(run: brinell.Audit, index: int) -> int:
    """How many examples a stage was asked about."""
    return sum(e.asked for e in run.evasion.engines if e.engine == PLAN.stages[index].label)


def test_on_an_honest_network_probes_find_nothing_and_call_nobody():
    net = affine(8)  # of two classes: a step along the gradient reaches the nearest corner
    run = audited(net, examples(net), plan=PLAN.model_copy(update={"stages": PLAN.stages[:TRIAL]}))
    found = run.evasion.gradients
    assert found is not None
    assert not found.misleading
    assert found.probed > 0
    assert found.sentence.startswith("gradients were found honest")
    assert [r.asked for r in run.evasion.reactions] == [0, 0]


@pytest.mark.slow
def test_where_gradients_mislead_what_was_left_open_is_searched_again():
    net = network()
    data = examples(net)
    honest = audited(net, data, plan=PLAN)
    masked = audited(Masked(net), data, plan=PLAN)
    found = masked.evasion.gradients
    assert found is not None
    assert found.misleading
    assert found.broken > 0
    assert "Square went on" in found.sentence
    assert spent(masked, PROBE) <= 16 * len(RADII)
    assert spent(masked, CALLED) > spent(masked, PROBE)
    gradient_alone = audited(Masked(net), data, plan=PLAN.model_copy(update={"stages": PLAN.stages[:2]}))
    assert gradient_alone.bracket.unbroken > masked.bracket.unbroken + 0.1
    assert masked.bracket.unbroken <= honest.bracket.unbroken + 0.05


def test_a_probe_asks_about_those_that_a_short_ascent_raises_most():
    net = affine(8)  # of two classes: margins fall in the order of distances
    x, y = examples(net)
    right = (net(x).argmax(1) == y).nonzero().flatten()
    x, y = x[right], y[right]
    margins, _, _ = reached(brinell.target(net), x, y, threat(1e-4).within(UNIT), lambda: None)
    nearest = net.distances(x, y, "linf").argsort()
    assert margins.argsort(descending=True)[:5].tolist() == nearest[:5].tolist()
    plan = Plan(name="probe", stages=(Stage(engine="Clean"), Stage(engine="Noise", settings={"draws": 50}, sample=5)))
    run = audited(net, (x, y), plan=plan, radii=(1e-4,))
    assert spent_on(run, "Noise") == 5


def spent_on(run: brinell.Audit, engine: str) -> int:
    return sum(e.asked for e in run.evasion.engines if e.engine.startswith(engine))


def test_proofs_go_on_only_where_a_trial_pays():
    net = network()
    data = examples(net)
    proofs = PLAN.model_copy(update={"stages": (PLAN.stages[0], *PLAN.stages[TRIAL:])})
    near = audited(net, data, plan=proofs, radii=(0.001,))
    far = audited(net, data, plan=proofs, radii=(0.4,), threat=threat(0.4))
    assert spent(near, PROOFS) > 8
    assert spent(far, TRIAL) > 0
    assert spent(far, PROOFS) == 0


def test_a_run_says_of_every_stage_that_waited_whether_its_turn_came():
    net = network()
    run = audited(net, examples(net), plan=PLAN)
    waiting = [stage for stage in PLAN.stages if stage.when != "always"]
    assert [r.engine for r in run.evasion.reactions] == [stage.label for stage in waiting]
    assert [r.condition for r in run.evasion.reactions] == [stage.condition for stage in waiting]


def test_what_ranks_the_examples_of_a_probe_is_counted():
    net = network()
    x, y = examples(net, 20)
    margins, queries, gradients = reached(brinell.target(net), x, y, threat(0.01).within(UNIT), lambda: None, steps=3)
    assert margins.shape == (20,)
    assert torch.equal(queries, 1 + gradients)
    assert (gradients <= 3).all()
    assert gradients.any()
    lost = net(x).argmax(1) != y
    assert margins[lost].isinf().all()
    x0 = net(x).detach()
    lead = x0.gather(1, y[:, None])[:, 0] - x0.scatter(1, y[:, None], -torch.inf).amax(1)
    assert (margins[~lost] >= -lead[~lost] - 1e-5).all()


def test_probes_of_one_radius_share_their_ranking_and_one_pays_for_it():
    net = network()
    data = examples(net)
    alone, twice = (
        audited(net, data, plan=Plan(name="probes", stages=(*PLAN.stages[:2], *probes)), radii=(0.02,))
        for probes in (
            [Stage(engine="Noise", settings={"draws": 3}, sample=5)],
            [Stage(engine="Noise", settings={"draws": draws}, sample=5) for draws in (3, 4)],
        )
    )
    first, second = [e for e in twice.evasion.engines if e.engine.startswith("Noise")]
    (only,) = [e for e in alone.evasion.engines if e.engine.startswith("Noise")]
    assert (first.forwards, first.gradients) == (only.forwards, only.gradients)
    assert first.gradients > 0
    assert (second.gradients, second.forwards <= 5 * 5) == (0, True)


def test_without_a_probe_nothing_is_said_of_gradients():
    plan = PLAN.model_copy(update={"stages": PLAN.stages[:2]})
    assert audited(plan=plan).evasion.gradients is None
    assert gradients(plan, [work(1, 100, 50)], ()) is None


def test_a_stage_that_became_too_expensive_ends_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("brinell.auditing.drive._SHORT", 0.0)
    stages = (
        *PLAN.stages[:2],
        Stage(engine="Noise", settings={"draws": 10_000}, within=1e-9),
        Stage(engine="IBP"),
    )
    plan = Plan(name="dear", stages=stages)
    net = network()
    run = audited(net, examples(net), tmp_path / "run", plan=plan)
    assert run.result.status == "complete"
    assert any("was ended when it had taken" in note for note in run.result.notes)
    assert not any(e.engine.startswith("Noise") for e in run.evasion.engines)
    assert any(e.engine.startswith("IBP") for e in run.evasion.engines)
    again = audited(net, examples(net), tmp_path / "run", plan=plan)
    assert again.result.notes == run.result.notes
    assert not any(e.engine.startswith("Noise") for e in again.evasion.engines)


def test_an_allowance_ends_a_stage_and_the_clock_ends_the_run():
    Allowance(Clock()).checkpoint()
    with pytest.raises(Stopped) as stopped:
        Allowance(Clock(), 0.0).checkpoint()
    assert stopped.value.reason == "allowance"
    with pytest.raises(Stopped) as stopped:
        Allowance(Clock(0), 0.0).checkpoint()
    assert stopped.value.reason == "budget"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_stopped_anywhere_turns_to_the_same_stages(tmp_path, workers):
    """Stopped after every fourth shard: each resumption decides from what is recorded."""
    net = Masked(network())
    data = examples(network(), 60)
    whole = audited(net, data, tmp_path / "whole", plan=PLAN)
    out = tmp_path / "stopped"
    for _ in range(200):
        left = [4]

        def stop(progress: object, left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        run = audited(net, data, out, plan=PLAN, workers=workers, on_progress=stop)
        if run.result.status == "complete":
            break
    assert run.result.status == "complete"
    assert [(e.engine, e.asked, e.settled) for e in run.evasion.engines] == [
        (e.engine, e.asked, e.settled) for e in whole.evasion.engines
    ]
    assert torch.equal(torch.tensor([r.unbroken for r in run.evasion.radii]),
                       torch.tensor([r.unbroken for r in whole.evasion.radii]))  # fmt: skip


@pytest.mark.slow
def test_what_only_black_box_attacks_see_makes_no_gate_pass():
    net = Masked(network())
    run = audited(net, examples(network()), plan=PLAN)
    assert run.evasion.gradients.hidden
    assert [f.code for f in run.evasion.doubts] == ["misleading"]
    [ruling] = gate(run, [Requirement.parse("unbroken@0.01>=0.01")])
    assert ruling.outcome is Outcome.INCONCLUSIVE
    accepted = audited(net, examples(network()), plan=PLAN, accept=("misleading",))
    assert not accepted.evasion.doubts


class Shortcut(nn.Module):
    """Behind rounding, with a linear path beside it: the gradient is that path's, and says nothing of the rest."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("beside", 0.1 * torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x * 64).round() / 64) + (x.flatten(1) - 0.5) @ self.beside


def test_a_gradient_that_is_aligned_and_wrong_is_called_misleading():
    net = Shortcut(network())
    x, _ = examples(network())
    data = (x, net(x).argmax(1))
    run = audited(net, data, plan="standard", radii=(0.05,), threat=threat(0.05), diagnose=True)
    assert run.evasion.gradients is not None
    assert "honest: no probe" not in run.evasion.gradients.sentence
    found = [finding.code for finding in run.findings]
    assert run.evasion.gradients.broken or {"black-box", "masked", "noise"} & set(found)


def test_what_a_diagnosis_found_is_not_forgotten_where_none_is_wanted(tmp_path):
    net = Masked(network())
    data = examples(network())
    before = audited(net, data, tmp_path, plan=PLAN, diagnose=True, accept=("zero-gradients",))
    assert before.evasion.doubts
    after = audited(net, data, tmp_path, plan=PLAN, diagnose=False)
    assert [f.code for f in after.evasion.doubts] == [f.code for f in before.evasion.doubts]
