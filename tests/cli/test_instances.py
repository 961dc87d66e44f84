"""`brinell decide instances.csv`: one line an instance, results that grow and are taken up again."""

import csv
import gzip
import json

import pytest

from cli.test_decide import BOX, HEAD, save_network


@pytest.fixture
def batch(tmp_path, brinell, monkeypatch):
    """max(x0, x1) with three properties in a folder of its own, and the command in another."""
    folder = tmp_path / "bench"
    folder.mkdir()
    save_network(folder / "net.onnx")
    for name, limit in (("sat", 0.75), ("unsat", 1.001), ("also", 1.5)):
        (folder / f"{name}.vnnlib").write_text(f"{HEAD}{BOX}(assert (>= Y_0 {limit}))")

    def call(*lines: str, words: tuple[object, ...] = ()):
        (folder / "instances.csv").write_text("\n".join(lines) + "\n")
        return brinell("decide", "bench/instances.csv", "--out", "r.csv", *words)

    monkeypatch.chdir(tmp_path)
    return call


def rows(path="r.csv"):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_each_instance_is_a_line_and_a_row(batch, tmp_path):
    done = batch("net.onnx,unsat.vnnlib,20", "./net.onnx,sat.vnnlib,20")
    assert done.code == 1, done.err
    assert [line.split()[:4] for line in done.out.splitlines()] == [
        ["1/2", "net.onnx", "unsat.vnnlib", "unsat"],
        ["2/2", "./net.onnx", "sat.vnnlib", "sat"],
    ]
    assert [row["result"] for row in rows()] == ["unsat", "sat"]
    witness = (tmp_path / rows()[1]["message"]).read_text()
    assert witness.startswith("sat\n")
    assert "Y_0" in witness
    assert done.err.splitlines()[-1] == "1 unsat, 1 sat; results: r.csv"
    assert batch("net.onnx,unsat.vnnlib,20", "", "net.onnx,also.vnnlib,20").code == 0


def test_answers_on_record_are_not_sought_again(batch, monkeypatch):
    lines = ["net.onnx,unsat.vnnlib,20", "net.onnx,also.vnnlib,20"]
    batch(lines[0])
    import brinell.cli.instances as instances

    asked = []
    answered = instances.answered
    monkeypatch.setattr(instances, "answered", lambda *args: asked.append(args[1].name) or answered(*args))
    assert batch(*lines).code == 0
    assert asked == ["also.vnnlib"]
    assert batch(lines[0], words=("--timeout", "10s")).code == 0
    assert batch(lines[0], words=("--soundness", "float32")).code == 0
    assert asked == ["also.vnnlib", "unsat.vnnlib", "unsat.vnnlib"], "another time or arithmetic is another question"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("net.onnx,unsat.vnnlib", "line 1: 'net.onnx,unsat.vnnlib' is not ONNX,VNNLIB,SECONDS"),
        ("net.onnx,unsat.vnnlib,20,1", "is not ONNX,VNNLIB,SECONDS"),
        ("net.onnx,,20", "is not ONNX,VNNLIB,SECONDS"),
        ("net.onnx,unsat.vnnlib,soon", "line 1: 'soon' is not a number of seconds"),
        ("net.onnx,unsat.vnnlib,-1", "line 1: '-1' is not a number of seconds"),
        ("none.onnx,unsat.vnnlib,20", "none.onnx"),
        ("net.onnx,none.vnnlib,20", "none.vnnlib"),
        ("unsat.vnnlib,unsat.vnnlib,20", "unsat.vnnlib"),
    ],
)
def test_a_broken_line_is_an_error_of_its_own(batch, line, said):
    done = batch(line, "net.onnx,unsat.vnnlib,20")
    assert done.code == 3, done.err
    first, second = rows()
    assert (first["result"], second["result"]) == ("error", "unsat")
    assert said in first["message"]
    assert said in done.out.splitlines()[0]
    assert "Traceback" not in done.err


def test_an_error_is_tried_again(batch, tmp_path):
    line = "net.onnx,later.vnnlib,20"
    assert batch(line).code == 3
    (tmp_path / "bench/later.vnnlib.gz").write_bytes(gzip.compress(f"{HEAD}{BOX}(assert (>= Y_0 2))".encode()))
    assert batch(line).code == 0
    assert [row["result"] for row in rows()] == ["error", "unsat"]


def test_a_mistake_of_our_own_ends_one_instance_alone(batch, monkeypatch):
    def search(network, property_, *_):
        raise RuntimeError(f"a bug with {property_.name}")

    import brinell.cli.instances as instances

    answered = instances.answered
    monkeypatch.setattr(
        instances, "answered", lambda *args: (search if args[1].name == "sat.vnnlib" else answered)(*args)
    )
    done = batch("net.onnx,sat.vnnlib,20", "net.onnx,unsat.vnnlib,20")
    assert done.code == 70
    assert [row["result"] for row in rows()] == ["internal", "unsat"]
    assert "a bug with sat.vnnlib" in rows()[0]["message"]


def test_ctrl_c_keeps_what_is_decided(batch, monkeypatch):
    import brinell.cli.instances as instances

    answered = instances.answered

    def interrupted(*args):
        if args[1].name == "also.vnnlib":
            raise KeyboardInterrupt
        return answered(*args)

    monkeypatch.setattr(instances, "answered", interrupted)
    lines = ["net.onnx,unsat.vnnlib,20", "net.onnx,also.vnnlib,20", "net.onnx,sat.vnnlib,20"]
    done = batch(*lines)
    assert done.code == 130
    assert done.err.splitlines()[-1] == (
        "brinell: interrupted; 1 of 3 instances are decided in r.csv; the same command goes on"
    )
    monkeypatch.setattr(instances, "answered", answered)
    assert batch(*lines).code == 1
    assert [row["result"] for row in rows()] == ["unsat", "unsat", "sat"]


def test_a_row_that_was_cut_short_is_sought_again(batch, tmp_path):
    batch("net.onnx,unsat.vnnlib,20", "net.onnx,also.vnnlib,20")
    text = (tmp_path / "r.csv").read_text()
    (tmp_path / "r.csv").write_text(text[:-20])
    assert batch("net.onnx,unsat.vnnlib,20", "net.onnx,also.vnnlib,20").code == 0
    last = (tmp_path / "r.csv").read_text().splitlines()[-1]
    assert last.startswith("net.onnx,also.vnnlib,20,real,unsat")


def test_as_json_each_line_is_an_object(batch):
    done = batch("net.onnx,unsat.vnnlib,20", "net.onnx,none.vnnlib,20", words=("--json",))
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [one["result"] for one in found] == ["unsat", "error"]
    assert [row["result"] for row in rows()] == ["unsat", "error"]


def test_what_cannot_be_right_leaves_nothing(batch, brinell, tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("\n")
    batch("net.onnx,unsat.vnnlib,20")
    for words, code, said in (
        (["empty.csv"], 2, "has no line"),
        (["nowhere.csv"], 3, "cannot be read"),
        (["bench/instances.csv", "bench/sat.vnnlib"], 2, "names the properties itself"),
        (["bench/instances.csv", "--out", "other.csv"], 2, "holds something else than results"),
        (["bench/instances.csv", "--out", "nowhere/r.csv"], 2, "folder that is not there"),
        (["bench/instances.csv", "--timeout", "soon"], 2, "--timeout 'soon' is not a time"),
        (["bench/net.onnx"], 2, "PROPERTY is missing"),
    ):
        done = brinell("decide", *words)
        assert (done.code, done.out) == (code, ""), done.err
        assert said in done.err
        assert len(done.err.splitlines()) == 1
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"
