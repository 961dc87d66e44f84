"""Each rule against onnxruntime, for any batch: the models are made for one row and for several."""

import gzip

import numpy as np
import pytest
import torch
from onnx import helper

from brinell.proofs import Unsupported, trace
from brinell.targets.onnx.call import Foreign
from brinell.targets.onnx.tape import Tape
from targets.onnx.files import model, normal, saved, twin, whole


def one(kind, *names, **attributes):
    return helper.make_node(kind, ["x", *names], ["y"], **attributes)


IMAGE, VECTOR = (4, 6, 6), (6,)
SMALL = {"w": normal(5, 2, 3, 3), "b": normal(5)}
EXP = helper.make_node("Exp", ["x"], ["e"])
CASES = {
    "gemm": (VECTOR, [one("Gemm", "w", "b", transB=1, alpha=0.5, beta=2.0)], {"w": normal(3, 6), "b": normal(3)}, 9),
    "gemm, one bias": (VECTOR, [one("Gemm", "w", "b")], {"w": normal(6, 3), "b": normal(1)}, 13),
    "gemm, no bias": (VECTOR, [one("Gemm", "w")], {"w": normal(6, 3)}, 13),
    "matmul": (VECTOR, [one("MatMul", "w")], {"w": normal(6, 3)}, 9),
    "matmul of rows": ((2, 6), [one("MatMul", "w")], {"w": normal(6, 3)}, 13),
    "matmul from the left": ((6, 2), [helper.make_node("MatMul", ["w", "x"], ["y"])], {"w": normal(3, 6)}, 13),
    "convolution": (
        IMAGE,
        [one("Conv", "w", "b", strides=[2, 1], pads=[1, 0, 1, 0])],
        {"w": normal(5, 4, 3, 3), "b": normal(5)},
        9,
    ),
    "convolution, uneven sides": (
        IMAGE,
        [one("Conv", "w", strides=[2, 2], pads=[0, 1, 1, 2])],
        {"w": normal(5, 4, 3, 3)},
        11,
    ),
    "convolution, groups": (
        IMAGE,
        [one("Conv", "w", "b", group=2, dilations=[2, 2])],
        {"w": normal(6, 2, 2, 2), "b": normal(6)},
        11,
    ),
    "convolution, same upper": (
        IMAGE,
        [one("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 2])],
        {"w": normal(5, 4, 4, 3)},
        11,
    ),
    "convolution, same lower": (
        IMAGE,
        [one("Conv", "w", auto_pad="SAME_LOWER", strides=[2, 2])],
        {"w": normal(5, 4, 4, 3)},
        11,
    ),
    "convolution of a series": ((4, 9), [one("Conv", "w", pads=[1, 1], strides=[2])], {"w": normal(5, 4, 3)}, 11),
    "relu": (IMAGE, [one("Relu")], {}, 6),
    "leaky relu": (VECTOR, [one("LeakyRelu", alpha=0.2)], {}, 9),
    "elu": (VECTOR, [one("Elu", alpha=0.7)], {}, 9),
    "sigmoid": (VECTOR, [one("Sigmoid")], {}, 9),
    "tanh": (VECTOR, [one("Tanh")], {}, 9),
    "celu": (VECTOR, [one("Celu", alpha=0.6)], {}, 12),
    "parametric relu": (IMAGE, [one("PRelu", "s")], {"s": normal(4, 1, 1)}, 16),
    "gelu": (VECTOR, [one("Gelu")], {}, 20),
    "gelu by a tanh": (VECTOR, [one("Gelu", approximate="tanh")], {}, 20),
    "mish": (VECTOR, [one("Mish")], {}, 18),
    "hard sigmoid": (VECTOR, [one("HardSigmoid", alpha=0.3, beta=0.4)], {}, 6),
    "hard swish": (VECTOR, [one("HardSwish")], {}, 14),
    "log-softmax": (VECTOR, [one("LogSoftmax")], {}, 9),
    "log-softmax of rows": ((3, 5), [one("LogSoftmax", axis=1)], {}, 13),
    "cube": (VECTOR, [one("Pow", "p")], {"p": np.float32(3)}, 13),
    "square by a whole number": (VECTOR, [one("Pow", "p")], {"p": np.int64(2)}, 13),
    "real power of exp": (VECTOR, [EXP, helper.make_node("Pow", ["e", "p"], ["y"])], {"p": normal(1) + 2}, 13),
    "layer normalisation": (
        (3, 5),
        [one("LayerNormalization", "s", "b", epsilon=1e-3)],
        {"s": normal(5), "b": normal(5, seed=1)},
        17,
    ),
    "softmax": (VECTOR, [one("Softmax")], {}, 9),
    "absolute value": (VECTOR, [one("Abs")], {}, 13),
    "erf": (VECTOR, [one("Erf")], {}, 13),
    "exp": (VECTOR, [one("Exp")], {}, 13),
    "log of exp": (VECTOR, [EXP, helper.make_node("Log", ["e"], ["y"])], {}, 13),
    "reciprocal of exp": (
        VECTOR,
        [EXP, helper.make_node("Reciprocal", ["e"], ["y"])],
        {},
        13,
    ),
    "root of exp": (VECTOR, [EXP, helper.make_node("Sqrt", ["e"], ["y"])], {}, 13),
    "selu": (VECTOR, [one("Selu")], {}, 6),
    "softplus": (VECTOR, [one("Softplus")], {}, 9),
    "softmax of rows": ((3, 5), [one("Softmax", axis=1)], {}, 13),
    "clip by attributes": (VECTOR, [one("Clip", min=-0.5, max=0.25)], {}, 9),
    "clip by inputs": (VECTOR, [one("Clip", "l", "h")], {"l": np.float32(-0.5), "h": np.float32(0.2)}, 13),
    "clip from above": (VECTOR, [one("Clip", "", "h")], {"h": np.float32(0.2)}, 13),
    "add": (IMAGE, [one("Add", "c")], {"c": normal(4, 1, 1)}, 13),
    "add itself": (IMAGE, [one("Add", "x")], {}, 13),
    "subtract from": (VECTOR, [helper.make_node("Sub", ["c", "x"], ["y"])], {"c": normal(1, 6)}, 13),
    "multiply": (VECTOR, [one("Mul", "c")], {"c": normal(6)}, 13),
    "divide": (VECTOR, [one("Div", "c")], {"c": normal(6)}, 13),
    "negate": (VECTOR, [one("Neg")], {}, 13),
    "sum": (VECTOR, [one("Sum", "x", "c")], {"c": normal(6)}, 13),
    "largest": (VECTOR, [helper.make_node("Neg", ["x"], ["n"]), one("Max", "n")], {}, 13),
    "smallest": (VECTOR, [helper.make_node("Neg", ["x"], ["n"]), one("Min", "n")], {}, 13),
    "flatten": (IMAGE, [one("Flatten", axis=1)], {}, 9),
    "flatten from the end": (IMAGE, [one("Flatten", axis=-3)], {}, 13),
    "reshape": (IMAGE, [one("Reshape", "s")], {"s": whole(-1, 8, 18)}, 13),
    "reshape keeps": (IMAGE, [one("Reshape", "s")], {"s": whole(0, 0, -1)}, 13),
    "squeeze by attribute": ((1, 6, 1), [one("Squeeze", axes=[1, 3])], {}, 9),
    "squeeze by input": ((1, 6, 1), [one("Squeeze", "a")], {"a": whole(-1)}, 13),
    "unsqueeze by attribute": (VECTOR, [one("Unsqueeze", axes=[1, 3])], {}, 9),
    "unsqueeze by input": (VECTOR, [one("Unsqueeze", "a")], {"a": whole(-1)}, 13),
    "transpose": (IMAGE, [one("Transpose", perm=[0, 2, 3, 1])], {}, 13),
    "transpose, reshape": (
        IMAGE,
        [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), helper.make_node("Flatten", ["t"], ["y"])],
        {},
        13,
    ),
    "concat": (IMAGE, [one("Concat", "x", axis=1)], {}, 13),
    "slice by attributes": (IMAGE, [one("Slice", axes=[2, 3], starts=[1, 0], ends=[-1, 2**31])], {}, 9),
    "slice by inputs": (
        IMAGE,
        [one("Slice", "s", "e", "a", "t")],
        {"s": whole(1), "e": whole(6), "a": whole(3), "t": whole(2)},
        13,
    ),
    "gather one": (IMAGE, [one("Gather", "i", axis=1)], {"i": np.int64(-1)}, 13),
    "gather several": (IMAGE, [one("Gather", "i", axis=2)], {"i": whole(3, 4, 0)}, 13),
    "split": (IMAGE, [helper.make_node("Split", ["x"], ["z", "y"], axis=1)], {}, 11),
    "split by sizes": (IMAGE, [helper.make_node("Split", ["x", "s"], ["z", "y"], axis=1)], {"s": whole(1, 3)}, 13),
    "pad by attribute": (IMAGE, [one("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1])], {}, 9),
    "pad by input": (IMAGE, [one("Pad", "p", "v")], {"p": whole(0, 1, 0, 2, 0, 0, 1, 0), "v": np.float32(2)}, 13),
    "batch normalisation": (
        IMAGE,
        [one("BatchNormalization", "s", "b", "m", "v", epsilon=1e-3)],
        {"s": normal(4), "b": normal(4), "m": normal(4), "v": normal(4) ** 2},
        9,
    ),
    "average pool": (IMAGE, [one("AveragePool", kernel_shape=[2, 3], strides=[2, 1])], {}, 9),
    "average pool, sides counted": (
        IMAGE,
        [one("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 0, 1], count_include_pad=1)],
        {},
        9,
    ),
    "average pool, sides left out": (IMAGE, [one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}, 9),
    "max pool": (IMAGE, [one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}, 9),
    "max pool, uneven sides": (IMAGE, [one("MaxPool", kernel_shape=[2, 2], pads=[0, 0, 1, 1])], {}, 9),
    "global average": (IMAGE, [one("GlobalAveragePool")], {}, 9),
    "global maximum": (IMAGE, [one("GlobalMaxPool")], {}, 9),
    "mean by attribute": (IMAGE, [one("ReduceMean", axes=[2, 3], keepdims=0)], {}, 9),
    "sum by attribute": (IMAGE, [one("ReduceSum", axes=[-1])], {}, 9),
    "sum by input": (IMAGE, [one("ReduceSum", "a", keepdims=0)], {"a": whole(1, 2)}, 13),
    "constant": (VECTOR, [helper.make_node("Constant", [], ["c"], value_floats=[1.0] * 6), one("Mul", "c")], {}, 13),
    "identity, dropout": (
        VECTOR,
        [helper.make_node("Identity", ["x"], ["i"]), helper.make_node("Dropout", ["i"], ["y"])],
        {},
        13,
    ),
    "cast": (
        VECTOR,
        [helper.make_node("Cast", ["x"], ["d"], to=11), helper.make_node("Cast", ["d"], ["y"], to=1)],
        {},
        13,
    ),
    "shape computed": (
        IMAGE,
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Gather", ["s", "zero"], ["n"]),
            helper.make_node("Unsqueeze", ["n", "first"], ["u"]),
            helper.make_node("Concat", ["u", "rest"], ["t"], axis=0),
            one("Reshape", "t"),
        ],
        {"zero": np.int64(0), "first": whole(0), "rest": whole(-1)},
        13,
    ),
}

WITHOUT_A_BOUND = {"elu", "sigmoid", "tanh", "softmax", "softmax of rows", "smallest", "global maximum", "cast"}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("rows", [1, 3, "rows"])
@pytest.mark.parametrize("name", CASES)
def test_a_rule_computes_what_onnxruntime_does(name, rows, tmp_path):
    shape, nodes, constants, version = CASES[name]
    ours, session = twin(saved(model(shape, nodes, constants, version, rows), tmp_path))
    x = normal(5, *shape, seed=1)
    torch.testing.assert_close(ours(torch.from_numpy(x)), torch.from_numpy(session(x, "y")), rtol=1e-5, atol=1e-5)


UNEVEN = {"pad by input", "max pool, uneven sides", "average pool, sides left out"}


@pytest.mark.parametrize("name", sorted(CASES.keys() - WITHOUT_A_BOUND - UNEVEN))
def test_what_is_read_becomes_a_graph(name, tmp_path):
    shape, nodes, constants, version = CASES[name]
    nodes = [*nodes, helper.make_node("Flatten", ["y"], ["flat"])]
    ours, session = twin(saved(model(shape, nodes, constants, version, output="flat"), tmp_path), "flat")
    x = normal(5, *shape, seed=1)
    found = trace(ours, torch.from_numpy(x))(torch.from_numpy(x))
    torch.testing.assert_close(found.float(), torch.from_numpy(session(x, "flat")), rtol=1e-5, atol=1e-5)


def test_an_operator_that_cannot_be_bounded_is_named_as_in_the_file(tmp_path):
    ours, _ = twin(saved(model(VECTOR, [helper.make_node("Sign", ["x"], ["y"], name="squash")]), tmp_path))
    with pytest.raises(Unsupported, match=r"no rule for aten.sign.default in squash \(Sign\)"):
        trace(ours, torch.zeros(1, 6))


@pytest.mark.parametrize(
    ("shape", "nodes", "constants", "words"),
    [
        (VECTOR, [one("Hardmax")], {}, r"no rule for the ONNX operator Hardmax \(y\)"),
        (VECTOR, [one("Reshape", "s")], {"s": whole(-1, 4)}, "mixes examples"),
        (VECTOR, [one("Transpose", perm=[1, 0])], {}, "moves the batch"),
        (VECTOR, [one("ReduceSum", "a")], {"a": whole(0)}, "examples added"),
        (VECTOR, [one("Concat", "x", axis=0)], {}, "joined to one another"),
        (VECTOR, [one("Pow", "p")], {"p": normal(6)}, "exponent is not one constant"),
        (VECTOR, [helper.make_node("Pow", ["c", "x"], ["y"])], {"c": normal(6)}, "exponent is not one constant"),
        (VECTOR, [one("Gather", "i")], {"i": whole(0)}, "picked from the batch"),
    ],
)
def test_what_mixes_examples_or_has_no_rule_is_refused(shape, nodes, constants, words, tmp_path):
    with pytest.raises(Foreign, match=words):
        twin(saved(model(shape, nodes, constants, rows="rows"), tmp_path))


def test_a_reading_that_differs_from_onnxruntime_is_refused(tmp_path, monkeypatch):
    path = saved(model(VECTOR, [one("Relu")]), tmp_path)
    import brinell.targets.onnx.operators as operators

    monkeypatch.setitem(operators.RULES, "Relu", lambda call, x: call.do(torch.ops.aten.neg.default, x))
    with pytest.raises(Foreign, match="differs from onnxruntime by"):
        twin(path)


def test_a_compressed_file_is_read(tmp_path):
    path = saved(model(VECTOR, [one("Relu")]), tmp_path)
    packed = tmp_path / "net.onnx.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    ours, _ = twin(packed)
    torch.testing.assert_close(ours(torch.tensor([[-1.0, 2, 0, 0, 0, 0]])), torch.tensor([[0.0, 2, 0, 0, 0, 0]]))


def test_a_value_that_a_rule_computes_without_writing_it_down_is_refused():
    """It would become a constant, and no comparison may ever meet an input for which it is another."""
    tape = Tape()
    x = tape.input((3,), torch.float32)
    with tape.watched():
        y = tape(torch.ops.aten.relu.default, x)
        with pytest.raises(RuntimeError, match="is not written down"):
            _ = y * 2
        assert torch.equal(torch.ones(2) * 2, torch.full((2,), 2.0))


def test_a_bias_that_depends_on_the_input_is_read_as_it_is(tmp_path):
    nodes = [
        helper.make_node("Sub", ["x", "far"], ["d"]),
        helper.make_node("Relu", ["d"], ["b"]),
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], beta=3.0),
    ]
    module, session = twin(saved(model((2,), nodes, {"far": normal(2) + 50, "w": normal(2, 2)}), tmp_path))
    x = 100 * torch.from_numpy(normal(20, 2, seed=3))
    np.testing.assert_allclose(module(x).numpy(), session(x.numpy(), "y"), rtol=1e-4, atol=1e-3)


def test_dropout_that_a_file_asks_for_in_training_is_refused(tmp_path):
    nodes = [helper.make_node("Dropout", ["x", "share", "training"], ["y"])]
    constants = {"share": np.array(1e-6, np.float32), "training": np.array(True)}
    with pytest.raises(Foreign, match="random"):
        twin(saved(model((3,), nodes, constants), tmp_path))
