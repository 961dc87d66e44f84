"""No figure that nobody worked for: an edge without an engine is not asked, and what was cut short is told."""

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import brinell
from brinell import Audit
from brinell.auditing import Finding, Plan, Requirement, Stage, compare, gate
from brinell.auditing.gate import Outcome
from brinell.report import render, table
from questions.runs import QUICK, RADII, audited, examples, network
from report.runs import changed

ENGINES = {
    "nothing": (),
    "a proof": (Stage(engine="IBP"),),
    "an attack": (Stage(engine="PGD", settings={"steps": 4}),),
    "both": (Stage(engine="IBP"), Stage(engine="PGD", settings={"steps": 4})),
    "any radius": (Stage(engine="FMN", settings={"steps": 5}),),
    "left out": (Stage(engine="ExactTrees"),),
}
WORKED = {
    "nothing": (False, False),
    "a proof": (True, False),
    "an attack": (False, True),
    "both": (True, True),
    "any radius": (False, True),
    "left out": (False, False),
}


def planned(name: str) -> Plan:
    return Plan(name="some", stages=(Stage(engine="Clean"), *ENGINES[name]), shard=64)


def in_terminal(run: Audit) -> str:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(table(run))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def ruled(run: Audit, text: str) -> Outcome:
    return gate(run, [Requirement.parse(text)])[0].outcome


@pytest.mark.sweep(8)
@pytest.mark.parametrize("name", ENGINES)
def test_an_edge_without_an_engine_is_not_asked_anywhere(tmp_path, name):
    run = audited(plan=planned(name), out=tmp_path, radii=RADII[:1])
    (r,) = run.evasion.radii
    assert (r.certified_asked, r.unbroken_asked) == WORKED[name]
    missing = 2 - sum(WORKED[name])
    for text in (in_terminal(run), repr(run), run._repr_html_()):
        assert text.count("not asked") == missing
    page = render(run)
    assert ("not asked" in page) == bool(missing)
    kept = json.loads((tmp_path / "result.json").read_text())["answers"]["evasion"]["radii"][0]
    assert (kept["certified_asked"], kept["unbroken_asked"]) == WORKED[name]
    if not r.unbroken_asked:
        assert ruled(run, f"unbroken@{r.label}>=0.1") is Outcome.INCONCLUSIVE
        assert ruled(run, f"unbroken@{r.label}>=0.999") is Outcome.FAIL, "an attack could only lower it"
    if not r.certified_asked:
        assert ruled(run, f"certified@{r.label}>=0.5") is Outcome.INCONCLUSIVE
    if name == "left out":
        for text in (in_terminal(run), repr(run), run._repr_html_(), page):
            assert "ExactTrees()" in text
        assert run.evasion.left_out[0].stage == "ExactTrees()"


def test_gradients_that_an_estimator_has_not_leave_nothing_asked():
    x, y = examples(network())
    model = LogisticRegression().fit(x.numpy(), y.numpy())
    target = brinell.target(model).restrict(brinell.Access.SCORES)
    run = brinell.audit(target, (x, y), brinell.Threat(brinell.Linf(0.01)), planned("an attack"), workers=1)
    assert not run.evasion.radii[0].unbroken_asked
    assert [stage.reason for stage in run.evasion.left_out] == ["only SCORES are seen"]


def test_where_nothing_is_open_both_edges_are_known():
    x, _ = examples(network())
    run = audited(data=(x, (network()(x).argmax(1) + 1) % 3), plan=planned("nothing"), accept=("low-accuracy",))
    assert all(r.certified_asked and r.unbroken_asked for r in run.evasion.radii)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_severe_finding_speaks_against_the_upper_edge_unless_accepted(accepted):
    run = audited(plan=planned("both"), radii=RADII[:1])
    hidden = Finding(code="masked", severity="severe", message="hidden", remedy="mend", accepted=accepted)
    changed(run, findings=(hidden,), diagnosis=None)
    label = run.evasion.radii[0].label
    (ruling,) = gate(run, [Requirement.parse(f"unbroken@{label}>=0.1")])
    assert ruling.outcome is (Outcome.PASS if accepted else Outcome.INCONCLUSIVE)
    assert ("masked: hidden" in ruling.seen) is not accepted
    assert ruled(run, f"unbroken@{label}>=0.999") is Outcome.FAIL
    assert ruled(run, f"certified@{label}>=0.01") is Outcome.PASS
    assert (("masked" in in_terminal(run)), ("masked" in repr(run))) == (True, True)


class Hanging(nn.Module):
    """The small network, until `asked` rows were asked; then a call that does not return."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.inner, self.left, self.never = network(), [asked], threading.Event()

    def __deepcopy__(self, memo: object) -> "Hanging":
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.left[0] -= len(x)
        if self.left[0] < 0 and not torch.compiler.is_exporting():
            self.never.wait(120)
        return self.inner(x)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0, 3_000])
def test_a_call_that_does_not_return_is_not_waited_for(tmp_path, asked):
    """In the preflight, and in a stage: the run is valid, says what was done, and goes on later."""
    model = Hanging(asked)
    run = audited(model, out=tmp_path, budget=0.5 if not asked else 8.0, plan=QUICK)
    assert run.result.status == "budget"
    assert "partial run (budget)" in repr(run)
    states = [e.state for e in run.evasion.engines]
    assert states.count("unfinished") <= 1
    assert states == sorted(states, key=("complete", "unfinished", "not begun").index)
    model.never.set()


CHILD = """
import sys, time, torch
from questions.runs import examples, network
import brinell

class Sleeper(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        time.sleep(1000)
        return self.inner(x)

run = brinell.audit(brinell.target(Sleeper()), examples(network()), brinell.Threat(brinell.Linf(0.01)), budget=0.1)
print(run.result.status, flush=True)
"""


@pytest.mark.slow
def test_a_process_ends_although_a_call_is_under_way():
    ended = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.stdout == "budget\n", ended.stderr
    assert ended.returncode == 0


def test_a_radius_is_written_as_it_was_given_everywhere(tmp_path):
    run = audited(plan=planned("both"), out=tmp_path, radii=[2 / 255], labels={2 / 255: "2/255"})
    assert run.evasion.radii[0].label == "2/255"
    for text in (in_terminal(run), repr(run), run._repr_html_(), render(run)):
        assert "2/255" in text
        assert "0.0078" not in text
    assert "unbroken@2/255" in gate(run, [Requirement.parse("unbroken@2/255>=0.1")])[0].requirement
    assert "0.00784313725490196" in repr(audited(plan=planned("nothing"), radii=[2 / 255]))


@pytest.fixture(scope="module")
def runs() -> dict[str, Audit]:
    return {name: audited(plan=planned(name), radii=RADII[:1]) for name in ENGINES}


@pytest.mark.parametrize("before", ENGINES)
@pytest.mark.parametrize("after", ENGINES)
def test_an_edge_that_one_run_did_not_work_on_is_compared_with_nothing(runs, before, after):
    worked = dict(zip(("certified", "unbroken"), zip(WORKED[before], WORKED[after], strict=True), strict=True))
    differences = compare(runs[before], runs[after])
    assert {d.figure for d in differences} == {edge for edge, asked in worked.items() if any(asked)}
    assert all(d.asked == worked[d.figure] for d in differences)
    rulings = gate(runs[after], [], runs[before])
    for ruling in rulings:
        asked = worked.get(ruling.requirement.split("@")[0], (False, False))
        assert asked == (True, True) or ruling.outcome is Outcome.INCONCLUSIVE
        assert ("not asked in the baseline" in ruling.seen) is (any(asked) and not asked[0])
        assert ("not asked in this run" in ruling.seen) is (any(asked) and not asked[1])
