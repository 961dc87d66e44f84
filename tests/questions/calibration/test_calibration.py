"""Calibration, asked of models whose probabilities are known to be true, or not."""

import json

import pytest
import torch
from torch import Tensor, nn

import brinell
from brinell.auditing import Requirement, compare, gate
from brinell.auditing.gate import Outcome
from brinell.errors import UsageError
from brinell.report import render
from questions.runs import ATTACKS, examples, network, tables, threat


class Scaled(nn.Module):
    """Scores whose softmax is the true chance of each class, made surer by a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def drawn(n: int = 600, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs that are scores, with labels drawn from their softmax."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(n, classes, generator=rng) * 4
    return x, torch.multinomial(x.softmax(1), 1, generator=rng).squeeze(1)


def asked(model: nn.Module, data: tuple[Tensor, Tensor], **options: object) -> brinell.Audit:
    target = brinell.target(model, box=(0, 4))
    return brinell.audit(brinell.Subject(target, data), [brinell.Calibration()], **options)  # type: ignore[arg-type]


def test_true_probabilities_show_nothing():
    answer = asked(Scaled(), drawn()).answers["calibration"]
    assert "nothing shown" in answer.summary.reading
    assert answer.figure("p_value").value >= 0.05
    assert answer.figure("ece").low <= answer.figure("ece_null").high


@pytest.mark.parametrize(("factor", "leaning"), [(4.0, "above"), (0.1, "below")])
def test_a_model_that_is_too_sure_or_not_sure_enough_is_told(factor, leaning):
    answer = asked(Scaled(factor), drawn()).answers["calibration"]
    assert leaning in answer.summary.reading
    assert answer.figure("p_value").value < 0.05
    assert answer.figure("ece").low > answer.figure("ece_null").high


def test_proper_scores_are_those_of_the_formulas():
    x, y = drawn(50)
    answer = asked(Scaled(), (x, y)).answers["calibration"]
    p = x.double().softmax(1)
    onto = nn.functional.one_hot(y, 4).double()
    assert answer.figure("brier").value == pytest.approx(float((p - onto).square().sum(1).mean()))
    assert answer.figure("nll").value == pytest.approx(float(nn.functional.nll_loss(p.log(), y)))
    assert answer.figure("accuracy").value == pytest.approx(float((p.argmax(1) == y).double().mean()))


def test_probabilities_are_taken_as_they_are():
    data = drawn()
    logits = asked(Scaled(), data).answers["calibration"]
    softmax = asked(nn.Softmax(1), data).answers["calibration"]
    for name in ("ece", "brier", "nll"):
        assert softmax.figure(name).value == pytest.approx(logits.figure(name).value, abs=1e-6)


def test_an_audit_asks_it_besides_and_the_bracket_is_the_same():
    net = network()
    data = examples(net)
    target = brinell.target(net)
    both = brinell.audit(target, data, threat(), ATTACKS, workers=1, diagnose=False)
    alone = brinell.audit(brinell.Subject(target, data), [brinell.Evasion(threat(), diagnose=False)], plan=ATTACKS)
    assert list(both.answers) == ["evasion", "calibration"]
    assert both.bracket == alone.bracket
    assert both.evasion.radii == alone.evasion.radii
    assert both.answers["calibration"].figure("accuracy").value == pytest.approx(both.evasion.clean)


def test_a_target_without_scores_is_not_asked_by_name():
    net = network()
    labels = brinell.target(net).restrict(brinell.Access.LABELS)
    subject = brinell.Subject(labels, examples(net))
    run = brinell.audit(subject, [brinell.Evasion(threat()), brinell.Calibration()], plan=ATTACKS)
    assert list(run.answers) == ["evasion"]
    assert "labels alone" in run.result.not_asked["calibration"]
    assert any("calibration was not asked" in note for note in run.notes)
    assert "Not asked" in render(run)
    (ruling,) = gate(run, [Requirement.parse("calibration.ece<=0.1")])
    assert ruling.outcome is Outcome.INCONCLUSIVE
    with pytest.raises(UsageError, match="calibration cannot be asked: the target shows labels alone"):
        brinell.audit(subject, [brinell.Calibration()])


class Raising(nn.Module):
    """Raises where the first score is high."""

    def forward(self, x: Tensor) -> Tensor:
        if (x[:, 0] > 3.5).any():
            raise ValueError("boom")
        return x


def test_examples_that_cannot_be_asked_are_counted_apart():
    x, y = drawn(200)
    bad = int((x[:, 0] > 3.5).sum())
    summary = asked(Raising(), (x, y)).answers["calibration"].summary
    assert summary.errors == bad > 0
    assert summary.figures["ece"].n == 200 - bad
    nothing = asked(Raising(), (x[x[:, 0] > 3.5], y[x[:, 0] > 3.5])).answers["calibration"]
    assert nothing.summary.figures == {}
    assert "no example could be asked" in nothing.summary.reading


def test_gates_read_its_figures():
    run = asked(Scaled(4.0), drawn())
    for text, outcome in (
        ("calibration.ece>=0.05", Outcome.PASS),
        ("calibration.ece<=0.05", Outcome.FAIL),
        ("calibration.accuracy>=0.2", Outcome.PASS),
        ("calibration.nll<=99", Outcome.PASS),
    ):
        assert gate(run, [Requirement.parse(text)])[0].outcome is outcome, text
    (other,) = gate(run, [Requirement.parse("certified@0.1>=0.1")])
    assert other.outcome is Outcome.INCONCLUSIVE
    assert "evasion was not asked" in other.seen


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("calibration.eec<=0.1", "'eec' is no figure of calibration; there are ece"),
        ("calibration.ece@0.1<=0.1", "ece takes no condition"),
        ("privacy.tpr>=0.1", "question 'privacy' is not known; there are evasion, calibration"),
    ],
)
def test_a_requirement_that_no_run_could_meet_is_refused(text, sentence):
    with pytest.raises(UsageError, match=sentence):
        Requirement.parse(text)


def test_runs_are_compared_example_by_example():
    data = drawn()
    before, after = asked(Scaled(), data), asked(Scaled(4.0), data)
    brier, nll = compare(before, after)
    assert (brier.name, nll.name) == ("calibration.brier", "calibration.nll")
    assert brier.after > brier.before
    assert brier.worse_p_value < 1e-4
    assert brier.gained + brier.lost == brier.n == 600
    back = compare(after, before)[0]
    assert (back.gained, back.lost) == (brier.lost, brier.gained)
    assert back.worse_p_value > 0.5


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    data = drawn()
    whole = asked(Scaled(), data, out=tmp_path / "whole")

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    first = asked(Scaled(), data, out=tmp_path / "cut", on_progress=stop)
    assert first.result.status == "interrupted"
    again = asked(Scaled(), data, out=tmp_path / "cut")
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")
    assert again.answers["calibration"].summary.figures == whole.answers["calibration"].summary.figures


def test_the_page_has_its_section_and_the_file_its_figures(tmp_path):
    run = brinell.audit(brinell.target(network()), examples(network()), threat(), ATTACKS, out=tmp_path, workers=1)
    page = render(run)
    assert "Is it right as often as it is sure?" in page
    assert "Expected calibration error" in page or "expected calibration error" in page
    names = [part.split('"')[0] for part in page.split(' id="')[1:]]
    assert len(set(names)) == len(names)
    kept = json.loads((tmp_path / "result.json").read_text())
    assert kept["answers"]["calibration"]["figures"]["ece"]["value"] == run.answers["calibration"].figure("ece").value


def test_a_run_that_has_not_asked_all_decides_no_gate(tmp_path):
    data = drawn()

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    plan = brinell.Calibration.plans["standard"].model_copy(update={"shard": 32})
    part = asked(Scaled(), data, plan=plan, out=tmp_path, on_progress=stop, workers=1)
    (ruling,) = gate(part, [Requirement.parse("calibration.ece<=0.9")])
    assert ruling.outcome is Outcome.INCONCLUSIVE
    assert "of 600 examples were asked" in ruling.seen
    (ruling,) = gate(asked(Scaled(), data), [Requirement.parse("calibration.ece<=0.9")])
    assert ruling.outcome is Outcome.PASS


@pytest.mark.parametrize("data", [drawn(20), (drawn(600)[0] + 0.0, drawn(600)[1])], ids=["few", "errors"])
def test_neither_do_few_examples_or_those_left_by_errors(data):
    model = Scaled() if len(data[0]) == 20 else Raising()
    run = asked(model, data)
    for text in ("calibration.ece<=0.9", "calibration.ece>=0.9", "calibration.nll<=99"):
        assert gate(run, [Requirement.parse(text)])[0].outcome is Outcome.INCONCLUSIVE


def test_probabilities_of_half_precision_are_probabilities():
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.softmax(1).half().float()

    data = drawn()
    exact, half = (asked(model, data).answers["calibration"] for model in (Scaled(), Half()))
    for name in ("ece", "brier", "nll"):
        assert half.figure(name).value == pytest.approx(exact.figure(name).value, abs=2e-3)


def test_a_loss_is_as_large_as_it_is():
    x = torch.zeros(120, 4)
    x[:, 0] = 4
    run = asked(Scaled(250.0), (x, torch.ones(120, dtype=torch.int64)))
    assert run.answers["calibration"].figure("nll").value == pytest.approx(1000, rel=1e-3)


def test_ties_with_chance_count_as_chance():
    """Ten of ten at 0.7 each: exactly 0.7^10 + P(at most 4) under the null, errors as large on the other side."""
    x = torch.zeros(120, 4)
    x[:, 0] = float(torch.tensor(0.7 / 0.1).log())
    y = (torch.arange(120) >= 84).long()  # exactly 70 % right
    answer = asked(Scaled(), (x, y)).answers["calibration"]
    assert answer.figure("p_value").value == pytest.approx(1)
