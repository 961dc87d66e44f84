import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from brinell import Audit, __version__
from brinell.auditing import Result
from questions.runs import figures, tables


def run_of(folder: Path) -> Path:
    (run,) = (folder / "runs").iterdir()
    return run


def test_an_audit_leaves_a_run_and_prints_its_table(audit, tmp_path):
    done = audit("--plan", "proof.yaml")
    assert done.code == 0, done.err
    run = run_of(tmp_path)
    assert {"ledger.sqlite", "result.json", "report.html", "artifacts"} <= {p.name for p in run.iterdir()}
    assert run.name.startswith("net-data-")
    result = Result.model_validate_json((run / "result.json").read_text())
    assert result.status == "complete"
    assert [r.radius for r in result.answers["evasion"].radii] == [0.01, 0.03]
    for word in ("certified", "unbroken", "0.01", "0.03", f"runs/{run.name}/report.html"):
        assert word in done.out
    assert "PGD(steps=4) at 0.03" in done.err
    assert "<html" in (run / "report.html").read_text()


@pytest.mark.slow
def test_the_same_command_finds_its_own_run_again(audit, tmp_path):
    first, second = audit(), audit()
    assert (first.code, second.code) == (0, 0)
    assert [line for line in first.out.splitlines() if "complete in" not in line] == [
        line for line in second.out.splitlines() if "complete in" not in line
    ]
    assert second.err == ""
    run_of(tmp_path)  # there is one
    audit("--seed", "1")
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_json_is_all_there_is_on_stdout(audit, tmp_path):
    done = audit("--json")
    assert Result.model_validate_json(done.out).to_json() == (run_of(tmp_path) / "result.json").read_text() == done.out


def test_a_dry_run_prints_the_plan_and_runs_nothing(audit, tmp_path):
    done = audit("--dry-run")
    assert done.code == 0
    assert "rows at most" in done.out
    assert "PGD(steps=4)" in done.out
    assert json.loads(audit("--dry-run", "--json").out)["name"] == "tiny"
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_what_a_dry_run_prints_is_a_plan(audit, tmp_path):
    (tmp_path / "again.json").write_text(audit("--dry-run", "--json").out)
    audit("--out", tmp_path / "a")
    assert audit("--plan", "again.json", "--out", tmp_path / "b").code == 0
    assert tables(tmp_path / "a") == tables(tmp_path / "b")


@pytest.mark.slow
def test_a_run_is_resumed_from_anywhere(audit, brinell, tmp_path, monkeypatch):
    assert audit("--out", tmp_path / "run", "--budget", "0.001s").code == 0
    assert Audit.open(tmp_path / "run").result.status == "budget"
    (tmp_path / "plan.yaml").unlink()  # the run knows its plan
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = brinell("resume", "../run", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["status"] == "complete"
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
def test_a_run_cut_short_and_resumed_is_the_run_itself(audit, brinell, tmp_path):
    audit("--out", tmp_path / "whole")
    for budget in ("0.001", "1.2", "1.4"):
        assert audit("--out", tmp_path / "cut", "--budget", budget).code == 0
    assert brinell("resume", tmp_path / "cut").code == 0
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


def test_a_run_of_another_model_is_not_resumed(audit, brinell, tmp_path):
    audit("--out", tmp_path / "run", "--budget", "0.001")
    net = tmp_path / "net.py"
    net.write_text(net.read_text().replace("nn.ReLU()", "nn.Tanh()"))
    done = brinell("resume", tmp_path / "run")
    assert done.code == 3
    assert "its target differ" in done.err
    done = audit("--out", tmp_path / "run", "--seed", "3")
    assert done.code == 3


def test_a_run_from_python_says_how_it_goes_on(brinell, tmp_path):
    from questions.runs import ATTACKS, audited

    audited(out=tmp_path / "run", plan=ATTACKS)
    done = brinell("resume", tmp_path / "run")
    assert done.code == 2
    assert "call brinell.audit again with out=" in done.err


@pytest.mark.parametrize("command", ["resume", "report", "gate"])
def test_what_is_no_run_is_one_line(brinell, tmp_path, command):
    for folder in (tmp_path, tmp_path / "missing"):
        done = brinell(command, folder, *(["--require", "clean>=0"] if command == "gate" else []))
        assert done.code == 3
        assert "is not a run" in done.err
        assert len(done.err.splitlines()) == 1
    (tmp_path / "ledger.sqlite").touch()
    done = brinell(command, tmp_path, *(["--require", "clean>=0"] if command == "gate" else []))
    assert done.code == 3
    assert "had not begun" in done.err


@pytest.mark.slow
def test_a_report_is_written_again(audit, brinell, tmp_path):
    audit("--out", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    (tmp_path / "run" / "report.html").unlink()
    assert brinell("report", tmp_path / "run").code == 0
    assert (tmp_path / "run" / "report.html").read_text() == page
    done = brinell("report", tmp_path / "run", "-o", tmp_path / "page.html", "--json")
    assert json.loads(done.out)["n"] == 120
    assert (tmp_path / "page.html").read_text() == page


@pytest.mark.slow
def test_two_runs_are_compared(audit, brinell, tmp_path):
    audit("--out", "a")
    audit("--out", "b", "--seed", "1")
    done = brinell("compare", "a", "b")
    assert done.code == 0
    assert "McNemar" in done.out
    there, back = (json.loads(brinell("compare", *pair, "--json").out) for pair in (("a", "b"), ("b", "a")))
    assert [d["gained"] for d in there] == [d["lost"] for d in back]
    assert all(d["p_value"] == 1 for d in json.loads(brinell("compare", "a", "a", "--json").out))
    audit("--out", "c", "--n", "7", "--set", "linf:0.5")
    assert brinell("compare", "a", "c").code == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--require", "certified@0.01>=0.1"], 0),
        (["--require", "certified@0.01>=0.999"], 1),
        (["--require", "certified@0.01>=0.1", "--require", "clean>=0.9"], 4),
        (["--require", "certified@0.5>=0.1"], 1),
        (["--baseline", "run"], 0),
        (["--baseline", "missing"], 3),
        ([], 2),
        (["--require", "certified"], 2),
    ],
)
def test_a_gate_speaks_by_its_exit_code(tmp_path_factory, audit, brinell, tmp_path, words, code):
    kept = tmp_path_factory.getbasetemp() / "gated"
    if not kept.exists():
        audit("--plan", "proof.yaml", "--out", kept)
    shutil.copytree(kept, tmp_path / "run")
    done = brinell("gate", tmp_path / "run", *words)
    assert done.code == code, done.out + done.err
    if code in (0, 1, 4):
        assert ("pass", "fail", None, None, "inconclusive")[code] in done.out
        rulings = json.loads(brinell("gate", tmp_path / "run", *words, "--json").out)
        assert {r["outcome"] for r in rulings} <= {"pass", "fail", "inconclusive"}


def test_the_engines_are_listed(brinell):
    done = brinell("list")
    assert done.code == 0
    assert "APGD" in done.out
    rows = json.loads(brinell("list", "--json").out)
    assert {"name", "kind", "family", "access", "paper", "atlas", "nist"} <= set(rows[0])


def test_the_version_is_printed(brinell):
    done = brinell("--version")
    assert (done.code, done.out) == (0, f"brinell {__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["-h"],
        *([command, "--help"] for command in ("audit", "check", "resume", "report", "compare", "gate", "list")),
    ],
)
def test_every_command_has_help(brinell, words):
    done = brinell(*words)
    assert done.code == 0
    assert "Usage" in done.out


def test_no_command_at_all_shows_the_help(brinell):
    done = brinell()
    assert "Usage" in done.out + done.err
    assert done.code in (0, 2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set", "linf:8"], "did you mean 8/255"),
        (["--set", "linf"], "write e.g. linf:8/255"),
        (["--set", "l7:0.1"], "write e.g. linf:8/255"),
        (["--set", "linf:x"], "radius 'x' is not a number"),
        (["--set", "linf:0.1,"], "radius '' is not a number"),
        (["--set", "linf:nan"], "radius 'nan' is not a number"),
        (["--set", "linf:-1"], "radius '-1' is not a number"),
        (["--plan", "quik"], "plan 'quik' is not known"),
        (["--goal", "loud"], "--goal 'loud' is not known"),
        (["--goal", "9"], "target class is 9"),
        (["--access", "all"], "--access 'all' is not known"),
        (["--budget", "soon"], "--budget 'soon' is not a time"),
        (["--budget", "-1s"], "--budget '-1s' is not a time"),
        (["--box", "0"], "--box '0' is not understood"),
        (["--box", "1,0"], "box is empty"),
        (["--mean", "x"], "--mean 'x' is not understood"),
        (["--std", "0"], "std is 0.0; it must be positive"),
        (["--n", "0"], "Invalid value for '--n'"),
        (["--workers", "0"], "Invalid value for '--workers'"),
        (["--seed", "99999999999999999999"], "Invalid value for '--seed'"),
        (["--frobnicate"], "No such option"),
        (["--label", "y"], "label is 'y', but the source is not a table"),
    ],
)
def test_a_usage_error_is_exit_code_two_and_leaves_nothing(audit, tmp_path, words, sentence):
    done = audit(*words)
    assert done.code == 2, done.err
    assert sentence in " ".join(done.err.replace("│", " ").split())
    assert done.out == ""
    assert not (tmp_path / "runs").exists()


def test_what_is_missing_is_said(brinell, tmp_path):
    from cli.command import model_files

    model, data = model_files(tmp_path)
    for words, sentence in (
        ([model], "DATA is missing"),
        ([model, data], "--set is missing"),
        ([tmp_path / "none.onnx", data, "--set", "linf:0.1"], "there is no such file"),
        ([model, tmp_path / "none.npz", "--set", "linf:0.1"], "does not exist"),
        ([tmp_path / "net.py", data, "--set", "linf:0.1"], "name what makes the model"),
        (["digits", data, "--set", "linf:0.1", "--weights", "w.pt"], "takes no --weights"),
    ):
        done = brinell("audit", *words)
        assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
        assert sentence in done.err


def test_pixels_up_to_255_are_told_apart(audit, tmp_path):
    import numpy as np

    held = np.load(tmp_path / "data.npz")
    np.savez(tmp_path / "wide.npz", x=(held["x"] * 255).astype(np.int64), y=held["y"])
    done = audit(data=tmp_path / "wide.npz")
    assert done.code == 2
    assert "outside-box" in done.err
    assert "--box" in done.err
    assert "--accept" not in done.err


def test_labels_out_of_range_are_told(audit, tmp_path):
    import numpy as np

    held = np.load(tmp_path / "data.npz")
    np.savez(tmp_path / "off.npz", x=held["x"], y=held["y"] + 2)
    done = audit(data=tmp_path / "off.npz")
    assert done.code == 2
    assert "labels go up to 4; the model has classes 0 to 2" in done.err


def test_a_severe_finding_stops_until_it_is_accepted(audit, tmp_path):
    soft = tmp_path / "soft.py"
    soft.write_text(
        "from questions.runs import network\nfrom torch import nn\n\n\n"
        "def build():\n    return nn.Sequential(network(), nn.Softmax(1))\n"
    )
    done = audit(model=f"{soft}:build")
    assert done.code == 4
    assert "probabilities:" in done.err
    assert "--accept probabilities" in done.err
    assert not (tmp_path / "runs").exists()
    done = audit("--accept", "probabilities", "--out", "run", "--budget", "0.01", model=f"{soft}:build")
    assert done.code == 0
    (finding,) = (f for f in Audit.open("run").findings if f.code == "probabilities")
    assert finding.accepted
    assert "probabilities" in Path("run/report.html").read_text()


@pytest.mark.slow
def test_what_was_accepted_stays_so_when_a_run_is_resumed(audit, brinell, tmp_path):
    soft = tmp_path / "soft.py"
    soft.write_text(
        "from questions.runs import network\nfrom torch import nn\n\n\n"
        "def build():\n    return nn.Sequential(network(), nn.Softmax(1))\n"
    )
    audit("--accept", "probabilities", "--out", "run", "--budget", "0.01", model=f"{soft}:build")
    assert brinell("resume", "run").code == 0


def test_a_check_prints_findings_and_costs(brinell, tmp_path):
    from cli.command import model_files

    model, data = model_files(tmp_path)
    words = ("check", model, data, "--weights", tmp_path / "net.safetensors", "--plan", "quick")
    done = brinell(*words)
    assert done.code == 0
    assert "rows at most" in done.out
    assert json.loads(brinell(*words, "--json").out)[0]["code"] == "training-mode"
    for found in (["--box", "0,0.5"], ["--mean", "5"]):
        done = brinell(*words, *found)
        assert done.code == 4, done.out
        assert "severe" in done.out


@pytest.mark.slow
def test_a_model_that_raises_is_checked_and_audited(audit, brinell, tmp_path):
    odd = tmp_path / "odd.py"
    odd.write_text(
        "import torch\nfrom questions.runs import network\n\n\nclass Odd(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.inner = network()\n\n"
        "    def forward(self, x):\n        if (x[:, 0] > EDGE).any():\n"
        "            raise RuntimeError('[/red] \\x1b[31m\\nbad \\x07')\n        return self.inner(x)\n\n\n"
        "def build():\n    return Odd()\n"
    )
    text = odd.read_text()
    odd.write_text(text.replace("EDGE", "0.98"))
    done = brinell("check", f"{odd}:build", tmp_path / "data.npz", "--plan", "quick")
    assert done.code == 0, done.err
    assert "raises" in done.out
    done = audit("--out", "run", model=f"{odd}:build")
    assert done.code == 0, done.err
    assert Audit.open("run").evasion.radii[0].errors > 0
    odd.write_text(text.replace("EDGE", "-1.0"))
    assert brinell("check", f"{odd}:build", tmp_path / "data.npz").code == 4
    done = audit(model=f"{odd}:build")
    assert done.code == 4
    assert "raises on 120 of 120 examples" in done.err
    assert done.err.removesuffix("\n").isprintable()
    done = audit("--accept", "raises", "--out", "none", model=f"{odd}:build")
    assert done.code == 0, done.err
    assert Audit.open("none").evasion.clean is None
    assert "n/a" in done.out


def test_a_contradiction_says_where_it_is_kept(audit, monkeypatch):
    import brinell.proofs
    from auditing.test_drive import Lying

    monkeypatch.setattr(brinell.proofs, "IBP", Lying)
    Path("c.yaml").write_text("{name: c, stages: [{engine: Clean}, {engine: IBP}, {engine: PGD, on: certified}]}")
    done = audit("--plan", "c.yaml", "--set", "linf:0.1", "--out", "run")
    assert done.code == 3
    assert "one of them is wrong; both are kept in run" in done.err
    assert len(done.err.splitlines()) == 1 + done.err.count(" open\n")


def test_two_commands_on_one_folder_do_not_meet(audit, tmp_path):
    from brinell.auditing import Ledger

    with Ledger(tmp_path / "run"):
        done = audit("--out", tmp_path / "run")
    assert done.code == 3
    assert "being written by another process" in done.err


def test_an_unwritable_folder_is_one_line(audit, tmp_path):
    done = audit("--out", tmp_path / "data.npz" / "run")
    assert done.code == 3
    assert "choose another folder with --out" in done.err


@pytest.mark.slow
def test_a_report_that_cannot_be_written_leaves_no_half(audit, brinell, tmp_path, monkeypatch):
    audit("--out", "run")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    page = (tmp_path / "run" / "report.html").read_text()
    done = brinell("report", "run")
    assert done.code == 3
    assert "No space left on device; free some space" in done.err
    assert (tmp_path / "run" / "report.html").read_text() == page
    assert not list((tmp_path / "run").rglob("*.half"))


def test_a_read_only_reader_changes_nothing(audit, brinell, tmp_path):
    audit("--out", "run")
    before = (tmp_path / "run" / "ledger.sqlite").read_bytes()
    brinell("gate", "run", "--require", "clean>=0")
    assert (tmp_path / "run" / "ledger.sqlite").read_bytes() == before
    assert sqlite3.connect("run/ledger.sqlite").execute("PRAGMA integrity_check").fetchone() == ("ok",)
