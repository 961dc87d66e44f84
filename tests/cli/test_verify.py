import gzip

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

HEAD = "(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real)\n"
BOX = "(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1))\n"


@pytest.fixture
def files(tmp_path):
    """relu(x0 - x1) + x1, which is max(x0, x1)."""
    first, second = np.array([[1, 0], [-1, 1]], np.float32), np.array([[1], [1]], np.float32)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "b")],
    )
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "net.onnx")

    def write(limit):
        (tmp_path / "p.vnnlib.gz").write_bytes(gzip.compress(f"{HEAD}{BOX}(assert (>= Y_0 {limit}))".encode()))
        return tmp_path / "net.onnx", tmp_path / "p.vnnlib.gz"

    return write


def test_sat_comes_first_and_the_witness_after_it(brinell, files, tmp_path):
    done = brinell("verify", *files(0.75), "--timeout", "20", "--out", tmp_path / "answer.txt")
    lines = done.out.splitlines()
    assert (done.code, lines[0]) == (1, "sat")
    values = {name: float(value) for name, value in (line.strip("()").split() for line in lines[1:])}
    assert values.keys() == {"X_0", "X_1", "Y_0"}
    assert values["Y_0"] == pytest.approx(max(values["X_0"], values["X_1"]))
    assert 0.75 <= values["Y_0"] <= 1
    assert (tmp_path / "answer.txt").read_text() == done.out


def test_unsat_is_a_proof(brinell, files):
    done = brinell("verify", *files(1.001))
    assert (done.code, done.out) == (0, "unsat\n")


def test_no_time_is_a_timeout(brinell, files):
    done = brinell("verify", *files(1.001), "--timeout", "1e-9")
    assert (done.code, done.out) == (4, "timeout\n")


@pytest.mark.parametrize("words", [("--timeout", "0"), ("--timeout", "nan"), ("--timeout", "-3")])
def test_a_timeout_that_is_none_is_a_mistake(brinell, files, words):
    done = brinell("verify", *files(1.0), *words)
    assert done.code == 2
    assert "timeout" in done.err


def test_a_missing_file_is_one_line(brinell, files, tmp_path):
    net, goal = files(1.0)
    for code, *wrong in (
        (3, tmp_path / "no.onnx", goal),
        (3, net, tmp_path / "no.vnnlib"),
        (3, goal, goal),
        (2, net, net),
    ):
        done = brinell("verify", *wrong)
        assert done.code == code
        assert len(done.err.strip().splitlines()) == 1


def test_how_far_a_proof_came_is_told_beside_the_answer(brinell, files, monkeypatch):
    from brinell.verify import Answer

    monkeypatch.setattr("brinell.cli.properties.search", lambda *_, **__: Answer("unknown", None, 0.1, -0.25))
    done = brinell("verify", *files(1.0))
    assert (done.code, done.out) == (4, "unknown\n")
    assert "no margin of the property is below -0.25" in done.err
