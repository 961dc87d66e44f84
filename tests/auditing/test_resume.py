"""Runs that are killed, stopped or cut short, and taken up again: the same to the bit as if nothing had happened."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import brinell
from brinell import Audit
from brinell.auditing import Plan, Stage
from brinell.errors import CannotRun
from brinell.threat import L2, Targeted
from questions.runs import ATTACKS, QUICK, RADII, audited, examples, figures, network, tables, threat

LONG = Plan(
    name="long",
    stages=(
        Stage(engine="Clean"),
        Stage(engine="Noise", settings={"draws": 20}),
        Stage(engine="IBP"),
        Stage(engine="APGD", settings={"steps": 20}),
        Stage(engine="CROWN"),
        Stage(engine="Square", settings={"queries": 50}),
        Stage(engine="PGD", settings={"steps": 10}, on="certified"),
    ),
    shard=64,
)

CHILD = textwrap.dedent(
    """
    import sys, torch
    from pathlib import Path
    from questions.runs import audited, examples, network
    from auditing.test_resume import LONG
    torch.set_num_threads(1)
    net = network(64, 10)
    data = examples(net, 2000, (64,))
    print("ready", flush=True)
    run = audited(net, data, Path(sys.argv[1]), plan=LONG, workers=int(sys.argv[2]))
    print(run.result.status, flush=True)
    """
)


def child(out: Path, workers: int = 2) -> "subprocess.Popen[str]":
    """A process that audits 2,000 examples, and has just begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(out), str(workers)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def recorded(out: Path) -> list[tuple[object, ...]]:
    """The work on record, each row with the time it took: work done again has another."""
    if not (out / "ledger.sqlite").exists():
        return []
    db = sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True, timeout=5)
    try:
        return db.execute("SELECT engine, shard, seconds FROM work").fetchall()
    except sqlite3.OperationalError:  # the tables are not there yet
        return []
    finally:
        db.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run, by one worker."""
    out = tmp_path_factory.mktemp("whole")
    net = network(64, 10)
    run = audited(net, examples(net, 2000, (64,)), out, plan=LONG)
    assert run.result.status == "complete"
    assert 0 < run.bracket.certified < run.bracket.unbroken
    return out


def killed(out: Path, kills: int, shards: int, seed: int) -> None:
    """Kill the run `kills` times on its way, at random moments; no row on record is ever made again."""
    rng = random.Random(seed)
    for left in range(kills, 0, -1):
        before = recorded(out)
        process = child(out)
        goal = len(before) + rng.randint(0, (shards - 50 - len(before)) // left)
        while len(recorded(out)) < goal:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        ended, _ = process.communicate(timeout=60)
        assert ended == "", "the run was complete before it could be killed"
        assert set(before) <= set(recorded(out)), "work on record was done again"
    finish(out)


def finish(out: Path) -> None:
    net = network(64, 10)
    assert audited(net, examples(net, 2000, (64,)), out, plan=LONG, workers=2).result.status == "complete"


def check_same(out: Path, whole: Path) -> None:
    assert tables(out) == tables(whole)
    assert figures(out) == figures(whole)
    names = [sorted(p.name for p in (run / "artifacts").iterdir()) for run in (out, whole)]
    assert names[0] == names[1]


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(whole, tmp_path):
    killed(tmp_path / "run", 3, len(recorded(whole)), seed=0)
    check_same(tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_ten_kills_each_at_random_moments_leave_no_trace(whole, tmp_path, seed):
    killed(tmp_path / "run", 10, len(recorded(whole)), seed + 1)
    check_same(tmp_path / "run", whole)


@pytest.mark.slow
def test_ctrl_c_leaves_a_result_that_is_taken_up(whole, tmp_path):
    process = child(tmp_path)
    while len(recorded(tmp_path)) < 40:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "interrupted\n"
    assert len(recorded(tmp_path)) < len(recorded(whole))
    partial = Audit.open(tmp_path)
    assert partial.result.status == "interrupted"
    assert partial.result.to_json() == (tmp_path / "result.json").read_text()
    assert tables(tmp_path)["work"]
    finish(tmp_path)
    check_same(tmp_path, whole)


@pytest.mark.slow
def test_stopping_from_a_callback_is_an_interruption(tmp_path):
    steps = []

    def stop(step):
        steps.append(step)
        if len(steps) == 5:
            raise KeyboardInterrupt

    run = audited(out=tmp_path, on_progress=stop)
    assert run.result.status == "interrupted"
    assert audited(out=tmp_path).result.status == "complete"
    audited(out=tmp_path / "whole")
    assert tables(tmp_path) == tables(tmp_path / "whole")


@pytest.mark.parametrize("after", [1, pytest.param(12, marks=pytest.mark.slow), 45])
def test_wherever_a_run_stops_it_goes_on_the_same(tmp_path, after):
    """Also where a stage that was left out, or that challenges proofs, lies before the place."""
    net = network()
    net[2] = nn.ReLU() if after % 2 else nn.Softsign()
    left = []

    def stop(_):
        left.append(None)
        if len(left) == after:
            raise KeyboardInterrupt

    plan = QUICK.model_copy(
        update={
            "stages": (
                *QUICK.stages[:2],
                Stage(engine="PGD", settings={"steps": 2}, on="certified"),
                *QUICK.stages[2:],
            )
        }
    )
    for out, progress in ((tmp_path / "a", stop), (tmp_path / "a", lambda _: None), (tmp_path / "b", lambda _: None)):
        audited(net, examples(net), out, plan=plan, on_progress=progress)
    assert tables(tmp_path / "a") == tables(tmp_path / "b")
    assert figures(tmp_path / "a") == figures(tmp_path / "b")


def test_a_finished_run_asks_nothing_more(tmp_path):
    first = audited(out=tmp_path)
    asked = []
    again = audited(out=tmp_path, on_progress=asked.append)
    assert not asked
    assert again.bracket == first.bracket
    assert again.result.provenance == first.result.provenance


X, Y = examples(network())


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        ({"model": network(seed=1)}, "its target differ"),
        ({"data": (X[:100], Y[:100])}, "its data differ"),
        ({"data": (X, (Y + 1) % 3)}, "its data differ"),
        ({"plan": QUICK.model_copy(update={"stages": QUICK.stages[:3]})}, "its plan differ"),
        ({"plan": QUICK.model_copy(update={"shard": 16})}, "its plan differ"),
        ({"seed": 1}, r"its seed differ \(seed was 0, is 1\)"),
        ({"radii": RADII[:2]}, "its radii differ"),
        ({"threat": threat(kind=L2)}, "its threat and set differ"),
        ({"threat": threat(goal=Targeted(2))}, "its data and threat differ"),
        ({"threat": brinell.Threat(brinell.Linf(RADII[-1]), queries=5)}, "its threat differ"),
    ],
)
def test_another_question_is_refused_by_name(tmp_path_factory, change, differing):
    out = tmp_path_factory.getbasetemp() / "one-question"
    audited(out=out)
    with pytest.raises(CannotRun, match=f"holds another run: {differing}.*choose another --out"):
        audited(out=out, **change)


def test_another_box_is_refused_by_name(tmp_path):
    audited(out=tmp_path)
    wider = brinell.target(network(), box=(0, 2))
    with pytest.raises(CannotRun, match="its target and threat differ"):
        brinell.audit(brinell.Subject(wider, (X, Y)), [brinell.Evasion(threat(), RADII)], plan=QUICK, out=tmp_path)


@pytest.mark.slow
def test_a_run_held_by_another_process_is_refused(tmp_path):
    process = child(tmp_path)
    try:
        while not recorded(tmp_path):
            time.sleep(0.05)
        net = network(64, 10)
        with pytest.raises(CannotRun, match="being written by another process"):
            audited(net, examples(net, 2000, (64,)), tmp_path, plan=LONG)
        assert Audit.open(tmp_path).result.status == "running"
    finally:
        process.kill()
        process.communicate()


class Slow(nn.Module):
    """Milliseconds a row."""

    def __init__(self, milliseconds: float = 2.0) -> None:
        super().__init__()
        self.inner, self.seconds = network(), milliseconds / 1000

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_exporting():
            time.sleep(self.seconds * len(x))
        return self.inner(x)


def test_a_budget_is_kept_and_the_rest_is_done_later(tmp_path):
    run = audited(Slow(), out=tmp_path, budget=3.0)
    assert run.result.status == "budget"
    assert run.result.seconds >= 3.0
    assert run.result.to_json() == (tmp_path / "result.json").read_text()
    assert 0 <= run.bracket.certified <= run.bracket.unbroken <= run.evasion.clean
    assert tables(tmp_path)["work"]


@pytest.mark.slow
def test_a_run_cut_short_by_budgets_ends_as_if_it_had_not_been(tmp_path):
    seen = set()
    for budget in (0.0, 0.2, 0.2, None):
        seen.add(audited(Slow(0.5), (X[:40], Y[:40]), tmp_path / "cut", plan=ATTACKS, budget=budget).result.status)
    assert seen == {"budget", "complete"}
    audited(Slow(0.5), (X[:40], Y[:40]), tmp_path / "whole", plan=ATTACKS)
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


def test_no_budget_at_all_leaves_a_valid_result(tmp_path):
    run = audited(out=tmp_path, budget=0.0)
    assert run.result.status == "budget"
    assert run.evasion.clean is None
    assert run.bracket.open_count == run.bracket.n == 150
