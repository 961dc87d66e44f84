"""ONNX files that are wrong: one line each, naming the file or the node, and never anything else."""

import random

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from brinell.errors import BrinellError, CannotRun, Refused
from brinell.proofs import deployed
from targets.onnx.files import model, normal, saved

WEIGHTS = {"w": normal(3, 1, 3, 3), "b": normal(3), "g": normal(2, 12)}


def sound():
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="slide", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"], name="nonlinearity"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "g"], ["y"], name="head", transB=1),
    ]
    return model((1, 4, 4), nodes, WEIGHTS, rows=1)


def without_a_weight(made):
    del made.graph.initializer[0]


def with_a_circle(made):
    made.graph.node[1].input[0] = "f"


def with_a_name_twice(made):
    made.graph.node[2].output[0] = "r"


def with_a_weight_of_another_shape(made):
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(normal(3, 2, 3, 3), "w"))


def with_a_weight_cut_short(made):
    made.graph.initializer[2].raw_data = made.graph.initializer[2].raw_data[:-5]


def of_an_operator_set_to_come(made):
    made.opset_import[0].version = 99


def without_a_node(made):
    del made.graph.node[:]


def without_an_output(made):
    del made.graph.output[:]


def with_two_outputs(made):
    made.graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, None))


def of_a_batch_beyond_all_memory(made):
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2**31


def of_an_empty_batch(made):
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 0


def of_text(made):
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def with_an_operator_nobody_knows(made):
    made.graph.node[1].op_type = "Nonlinearity"


def with_an_operator_that_has_no_rule(made):
    made.graph.node[1].op_type = "Sin"


def with_a_weight_that_is_no_number(made):
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3, 1, 3, 3), np.nan, np.float32), "w"))


DAMAGES = {
    without_a_weight: "w",
    with_a_circle: "nonlinearity|cycl",
    with_a_name_twice: "r",
    with_a_weight_of_another_shape: "slide",
    with_a_weight_cut_short: "g",
    of_an_operator_set_to_come: "99",
    without_a_node: "without any operation",
    without_an_output: "output",
    with_two_outputs: "2 outputs",
    of_a_batch_beyond_all_memory: "at most 268435456 values",
    of_an_empty_batch: "at least 1 long",
    of_text: "string",
    with_an_operator_nobody_knows: "Nonlinearity",
    with_an_operator_that_has_no_rule: r"no rule for the ONNX operator Sin \(nonlinearity\)",
    with_a_weight_that_is_no_number: r"slide \(Conv\).* holds NaN",
}


def one_line(error):
    text = str(error.value)
    return text.isprintable() and len(text) < 500


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_wrong_is_one_line_that_names_it(damage, tmp_path, capfd):
    made = sound()
    damage(made)
    with pytest.raises(BrinellError, match=DAMAGES[damage]) as error:
        deployed(saved(made, tmp_path))
    assert one_line(error)
    assert capfd.readouterr() == ("", ""), "onnxruntime speaks through the error alone"


def test_the_network_itself_is_sound(tmp_path):
    assert deployed(saved(sound(), tmp_path)).graph.classes == 2


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "a/../../secret", "", "link"])
def test_data_outside_the_folder_is_not_read(location, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret").write_bytes(bytes(200))
    (home / "link").symlink_to(tmp_path / "secret")
    made = sound()
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    with pytest.raises(Refused, match="data file") as error:
        deployed(saved(made, home))
    assert one_line(error)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Cut short, bits turned, or some bytes exchanged."""
    kind, damaged = rng.randrange(3), bytearray(content)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        return bytes(damaged)
    start = rng.randrange(len(damaged))
    damaged[start : start + rng.randrange(6)] = rng.randbytes(rng.randrange(6))
    return bytes(damaged)


def reading(path):
    """The error, where there is one."""
    try:
        deployed(path)
    except BrinellError as error:
        return str(error)
    return None


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 21))])
def test_a_damaged_file_is_read_or_refused_and_nothing_is_printed(seed, tmp_path, capfd):
    rng, content, refused = random.Random(seed), sound().SerializeToString(), 0
    for _ in range(40):
        (tmp_path / "net.onnx").write_bytes(mutated(content, rng))
        said = reading(tmp_path / "net.onnx")
        refused += said is not None
        assert said is None or ("\n" not in said and len(said) < 500)
    assert refused > 10
    assert capfd.readouterr() == ("", "")


def test_noise_and_gzip_that_is_none_are_refused(tmp_path):
    for content in (b"", b"\x00" * 100, b"\x1f\x8b broken", b"(declare-const X_0 Real)", b"\xff" * 50):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(CannotRun, match=r"net\.onnx: (not an ONNX model|damaged gzip)"):
            deployed(tmp_path / "net.onnx")
