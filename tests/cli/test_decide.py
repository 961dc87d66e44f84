import gzip
import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from brinell.cli.leave import INTERNAL

HEAD = "(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real)\n"
BOX = "(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1))\n"


def save_network(path, first=((1, 0), (-1, 1)), bend="Relu"):
    """relu(x0 - x1) + x1, which is max(x0, x1)."""
    first, second = np.array(first, np.float32), np.array([[1], [1]], np.float32)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"], name="first"),
            helper.make_node(bend, ["h"], ["r"], name="bend"),
            helper.make_node("MatMul", ["r", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "b")],
    )
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.fixture
def files(tmp_path):
    save_network(tmp_path / "net.onnx")

    def write(limit):
        (tmp_path / "p.vnnlib.gz").write_bytes(gzip.compress(f"{HEAD}{BOX}(assert (>= Y_0 {limit}))".encode()))
        return tmp_path / "net.onnx", tmp_path / "p.vnnlib.gz"

    return write


def test_sat_comes_first_and_the_witness_after_it(brinell, files, tmp_path):
    done = brinell("decide", *files(0.75), "--timeout", "20", "--out", tmp_path / "answer.txt")
    lines = done.out.splitlines()
    assert (done.code, lines[0]) == (1, "sat")
    values = {name: float(value) for name, value in (line.strip("()").split() for line in lines[1:])}
    assert values.keys() == {"X_0", "X_1", "Y_0"}
    assert values["Y_0"] == pytest.approx(max(values["X_0"], values["X_1"]))
    assert 0.75 <= values["Y_0"] <= 1
    assert (tmp_path / "answer.txt").read_text() == done.out


def test_unsat_is_a_proof(brinell, files):
    done = brinell("decide", *files(1.001))
    assert (done.code, done.out) == (0, "unsat\n")


def test_no_time_is_a_timeout(brinell, files):
    done = brinell("decide", *files(1.001), "--timeout", "1e-9")
    assert (done.code, done.out) == (4, "timeout\n")


@pytest.mark.parametrize("words", [("--timeout", "0"), ("--timeout", "nan"), ("--timeout", "-3")])
def test_a_timeout_that_is_none_is_a_mistake(brinell, files, words):
    done = brinell("decide", *files(1.0), *words)
    assert done.code == 2
    assert "timeout" in done.err


@pytest.mark.parametrize(
    "words",
    [("--set", "linf:0.1"), ("--n", "5"), ("--feature", "0:+"), ("--goal", "0")],
    ids=lambda w: w[0],
)
def test_what_is_said_of_examples_is_refused_for_a_property(brinell, files, words):
    done = brinell("decide", *files(1.001), *words)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"brinell: No such option: {words[0]}; see brinell decide --help\n"


def test_a_missing_file_is_one_line(brinell, files, tmp_path):
    net, goal = files(1.0)
    for code, *wrong in (
        (3, tmp_path / "no.onnx", goal),
        (3, net, tmp_path / "no.vnnlib"),
        (3, goal, goal),
        (2, net, net),
    ):
        done = brinell("decide", *wrong)
        assert done.code == code
        assert len(done.err.strip().splitlines()) == 1


def test_how_far_a_proof_came_is_told_beside_the_answer(brinell, files, monkeypatch):
    from brinell.proofs import Decision

    def search(*_, progress, **__):
        progress.bound = -0.25
        return Decision("unknown", None, 0.1, progress.bound)

    monkeypatch.setattr("brinell.cli.properties.search", search)
    done = brinell("decide", *files(1.0))
    assert (done.code, done.out) == (4, "unknown\n")
    assert "no margin of the property is below -0.25" in done.err


def test_an_operator_without_a_rule_and_a_weight_that_is_no_number_are_named_with_their_place(brinell, files, tmp_path):
    _, goal = files(1.0)
    save_network(tmp_path / "sin.onnx", bend="Sin")
    save_network(tmp_path / "nan.onnx", first=((1, 0), (np.nan, 1)))
    for name, words in (
        ("sin.onnx", "no rule for the ONNX operator Sin (bend)"),
        ("nan.onnx", "in first (MatMul): a constant of shape (2, 2) that holds NaN or infinite numbers"),
    ):
        done = brinell("decide", tmp_path / name, goal)
        assert (done.code, done.out) == (3, "")
        assert words in done.err
        assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (HEAD + BOX, 0, None),  # every input is unsafe
        (HEAD + BOX + "(assert (>= Y_0 (+ 1 Y_9)))", 3, "p.vnnlib:3:22: 'Y_9' is neither a declared variable"),
        (HEAD + BOX + "(assert (>= Y_0 1)", 3, "p.vnnlib:3:1: a parenthesis that is never closed"),
        (
            HEAD + BOX + "(assert (>= X_1 2))",
            3,
            "p.vnnlib:3:9: X_1 is to be at least 2 and at most 1;",
        ),
        (HEAD + "(assert (>= Y_0 1))", 3, "p.vnnlib:1:1: X_0 is not bounded from below and above"),
        (HEAD + "(declare-const X_2 Real)" + BOX + "(assert (>= X_2 0)) (assert (<= X_2 0))", 2, "has 3 inputs and 1"),
        ("", 3, "p.vnnlib:1:1: X_0 is not declared"),
    ],
    ids=["no output", "unknown", "cut", "empty box", "no box", "another size", "empty file"],
)
def test_a_property_that_is_wrong_is_one_line_with_its_place(brinell, files, tmp_path, text, code, words):
    net, _ = files(1.0)
    (tmp_path / "p.vnnlib").write_text(text)
    done = brinell("decide", net, tmp_path / "p.vnnlib", "--timeout", "20")
    if words is None:
        assert (done.code, done.out.splitlines()[0]) == (1, "sat")
        return
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_what_is_no_plain_file_is_refused_at_once(brinell, files, tmp_path):
    net, goal = files(1.0)
    for end in ("onnx", "vnnlib"):
        (tmp_path / f"folder.{end}").mkdir()
        (tmp_path / f"device.{end}").symlink_to("/dev/zero")
        os.mkfifo(tmp_path / f"pipe.{end}")
        for name in ("folder", "device", "pipe"):
            file = tmp_path / f"{name}.{end}"
            done = brinell("decide", *((file, goal) if end == "onnx" else (net, file)))
            assert (done.code, done.err) == (3, f"brinell: {file}: a folder, a pipe or a device; give a plain file\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "brinell: interrupted; a property is decided anew each time"),
        (MemoryError(), 4, "memory ran out"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            4,
            "memory ran out",
        ),
    ],
    ids=["interrupt", "memory", "torch's memory"],
)
def test_what_ends_a_search_early_leaves_unknown_and_the_bound_so_far(
    brinell, files, tmp_path, monkeypatch, error, code, said
):
    def search(*_, progress, **__):
        progress.bound = -0.5
        raise error

    monkeypatch.setattr("brinell.cli.properties.search", search)
    done = brinell("decide", *files(1.0), "--out", tmp_path / "answer.txt")
    assert (done.code, done.out) == (code, "unknown\n")
    assert said in done.err.splitlines()
    assert "no margin of the property is below -0.5" in done.err
    assert (tmp_path / "answer.txt").read_text() == done.out


def test_an_error_that_is_ours_is_not_taken_for_a_lack_of_memory(brinell, files, monkeypatch):
    def search(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("brinell.cli.properties.search", search)
    done = brinell("decide", *files(1.0))
    assert (done.code, "internal error: RuntimeError: a bug" in done.err) == (INTERNAL, True)


def test_a_file_that_could_not_be_written_is_refused_before_any_work(tmp_path, files, brinell):
    nowhere = tmp_path / "nowhere"
    for words in (
        ("decide", *files(1.0), "--out", nowhere / "a.txt"),
        ("radius", "digits", "--n", "1", "--save", nowhere / "a.csv"),
        ("attack", "FGSM", "digits", "--n", "1", "--set", "linf:0.1", "--save", nowhere / "a.npz"),
    ):
        done = brinell(*words)
        assert done.code == 2
        assert "folder that is not there" in done.err


def test_the_arithmetic_of_a_proof_is_told_beside_it(brinell, files):
    for words, said in (((), "exact arithmetic (real)"), (("--soundness", "float32"), "proved for float32")):
        done = brinell("decide", *files(1.5), *words)
        assert (done.code, done.out) == (0, "unsat\n")
        assert said in done.err
        record = json.loads(brinell("decide", *files(1.5), *words, "--json").out)
        assert (record["verdict"], record["soundness"]) == ("unsat", "float32-any-order" if words else "real")


@pytest.mark.slow
def test_a_proof_that_rounding_may_undo_is_none_for_float32(brinell, files):
    done = brinell("decide", *files(1.0000001), "--soundness", "float32", "--timeout", "5", "--json")
    record = json.loads(done.out)
    assert done.code == 4
    assert record["verdict"] in ("unknown", "timeout")
    assert record["soundness"] is None
