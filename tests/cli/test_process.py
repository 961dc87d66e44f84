"""What only a process of its own can show: signals, a full disk, what goes where."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brinell import Audit
from cli.command import model_files

SLOW_NET = """
import time
import torch
from questions.runs import network


class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        if not torch.compiler.is_exporting():
            time.sleep(0.0002 * len(x))
        return self.inner(x)


def build():
    return Slow()
"""

PATHS = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
"""A process imports the tests, and the Brinell that they import."""


def start(*words: object, cwd: Path, **options: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "brinell", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture
def slow(tmp_path: Path) -> list[object]:
    """The words that audit a slow model for some seconds."""
    _, data = model_files(tmp_path, 40)
    (tmp_path / "slow.py").write_text(SLOW_NET)
    stages = [
        {"engine": "Clean"},
        {"engine": "Noise", "settings": {"draws": 40}},
        {"engine": "PGD", "settings": {"steps": 20}},
        {"engine": "Square", "settings": {"queries": 40}},
        {"engine": "IBP"},
    ]
    for name, own in (("plan", stages), ("attacks", stages[:-1])):
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, "shard": 10, "stages": own}))
    return ["audit", tmp_path / "slow.py:build", data, "--set", "linf:0.01,0.05", "--plan", "plan.json"]


def begun(run: Path, shards: int) -> None:
    """Wait until so many shards are on record."""
    while True:
        if (run / "ledger.sqlite").exists():
            db = sqlite3.connect(f"file:{run / 'ledger.sqlite'}?mode=ro", uri=True, timeout=5)
            try:
                if db.execute("SELECT count(*) FROM work").fetchone()[0] >= shards:
                    return
            except sqlite3.OperationalError:
                pass
            finally:
                db.close()
        time.sleep(0.05)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_stopped_run_is_valid_and_goes_on(tmp_path, slow, brinell, number):
    process = start(*slow, "--out", "run", cwd=tmp_path)
    begun(tmp_path / "run", 6)
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "brinell: interrupted; continue with: brinell resume run"
    assert "Traceback" not in err
    partial = Audit.open(tmp_path / "run")
    assert partial.result.status == "interrupted"
    assert partial.result.to_json() == (tmp_path / "run" / "result.json").read_text()
    assert "interrupted" in (tmp_path / "run" / "report.html").read_text()
    assert "certified" in out

    assert brinell(*([*slow, "--out", "run"] if number == signal.SIGINT else ["resume", "run"])).code == 0
    assert Audit.open(tmp_path / "run").result.status == "complete"


@pytest.mark.slow
def test_a_budget_is_kept_and_stdout_holds_figures_only(tmp_path, slow):
    process = start(*slow[:-1], "attacks.json", "--out", "run", "--json", "--budget", "1.5s", cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["status"] == "budget"
    assert result["seconds"] > 0
    assert "\x1b" not in out + err


def small_files(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [40_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 8_000, 70_000))])
def test_a_full_disk_is_one_line_and_leaves_no_half(tmp_path, slow, brinell, limit):
    """Files may grow to so many bytes: what is full, and when, differs; what is said does not."""
    words = [*slow, "--out", "run"]
    process = start(*words, cwd=tmp_path, preexec_fn=lambda: small_files(limit))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    assert "Traceback" not in err
    said = [line for line in err.splitlines() if line.startswith("brinell: ")]
    assert len(said) == 1
    assert "cannot be" in said[0]
    assert out == ""
    for name in ("report.html", "result.json"):
        file = tmp_path / "run" / name
        assert not file.exists() or file.read_text().rstrip().endswith(("</html>", "}"))
    assert not list(tmp_path.rglob("*.half"))
    assert brinell(*words).code == 0
    assert Audit.open(tmp_path / "run").result.status == "complete"


def test_a_closed_pipe_is_no_traceback(tmp_path):
    process = subprocess.run(
        f"{sys.executable} -m brinell list | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in process.stderr


def test_a_full_output_is_no_traceback():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "brinell", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert process.returncode != 0
    assert "Traceback" not in process.stderr


@pytest.fixture
def hard(tmp_path: Path) -> list[object]:
    """The words that search for a proof that takes long."""
    from proofs.hard import save_hard

    return ["decide", *save_hard(tmp_path), "--timeout"]


@pytest.mark.slow
def test_an_interrupted_proof_says_how_far_it_came(tmp_path, hard):
    process = start(*hard, 60, cwd=tmp_path)
    time.sleep(8)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("brinell: interrupted")
    if out:  # it had begun
        assert out == "unknown\n"
        assert "no margin of the property is below" in err


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 1.6])
def test_an_interrupted_import_is_one_line(tmp_path, hard, seconds):
    process = start(*hard, 60, cwd=tmp_path)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT)  # before Brinell itself is imported, Python ends as it does
    assert process.returncode == -signal.SIGINT or err.splitlines()[-1].startswith("brinell: interrupted")


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [900, 1000, 1200])
def test_a_limit_of_memory_ends_a_proof_without_a_traceback(tmp_path, hard, megabytes):
    limit = megabytes << 20
    process = start(*hard, 10, cwd=tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) in ((4, "unknown\n"), (4, "timeout\n"))
    assert "Traceback" not in err
