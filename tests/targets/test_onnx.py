import onnx
import pytest
import torch
from onnx import TensorProto, helper

from brinell.errors import CannotRun, UsageError
from brinell.targets import OnnxBackend, load
from brinell.threat import Access
from targets.models import as_onnx, batch, mlp


def saved(model, folder, **options):
    path = folder / "model.onnx"
    onnx.save(model, str(path), **options)
    return path


@pytest.mark.parametrize("rows", ["rows", 1, 3])
@pytest.mark.parametrize("n", [1, 3, 7])
def test_scores_are_those_of_the_same_network_in_torch(tmp_path, rows, n):
    net, x = mlp(), batch(n, 4)
    backend = OnnxBackend(saved(as_onnx(net, rows), tmp_path))
    torch.testing.assert_close(backend.scores(x), net(x).detach())
    torch.testing.assert_close(backend.scores(x.reshape(n, 2, 2)), net(x).detach())


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_other_floats_are_cast(tmp_path, kind):
    net, x = mlp(), batch(5, 4)
    backend = OnnxBackend(saved(as_onnx(net, kind=kind), tmp_path))
    torch.testing.assert_close(backend.scores(x).float(), net(x).detach(), rtol=0.01, atol=0.01)


def test_a_file_gives_a_target_that_shows_its_weights(tmp_path):
    asked, net, x = load(saved(as_onnx(mlp()), tmp_path)), mlp(), batch(5, 4)
    assert asked.access == Access.WEIGHTS
    assert asked.labels(x).tolist() == net(x).argmax(1).tolist()
    assert asked.copy().backend is asked.backend
    scores, values, gradient = asked.gradient(x, lambda scores, rows: scores[:, 0])
    x.requires_grad_()
    (expected,) = torch.autograd.grad(net(x)[:, 0].sum(), x)
    torch.testing.assert_close(scores, net(x).detach())
    torch.testing.assert_close(values, scores[:, 0])
    torch.testing.assert_close(gradient, expected)


def test_what_cannot_be_read_shows_scores_alone(tmp_path):
    backend = OnnxBackend(saved(graph([X], [("s", TensorProto.FLOAT, ["n", 4])], HARD), tmp_path))
    assert backend.access == Access.SCORES
    assert backend.scores(batch(3, 4)).shape == (3, 4)
    with pytest.raises(UsageError, match=r"shows no weights: no rule for the ONNX operator Hardmax \(h\)"):
        backend.module()


def test_data_beside_the_file_is_read_and_counts_for_the_digest(tmp_path):
    options = {"save_as_external_data": True, "location": "model.bin", "size_threshold": 0}
    path = saved(as_onnx(mlp()), tmp_path, **options)
    backend = OnnxBackend(path)
    torch.testing.assert_close(backend.scores(batch(5, 4)), mlp()(batch(5, 4)).detach())
    data = bytearray((tmp_path / "model.bin").read_bytes())
    data[3] ^= 1
    (tmp_path / "model.bin").write_bytes(data)
    assert OnnxBackend(path).digest() != backend.digest()


def test_the_wrong_shape_is_named(tmp_path):
    backend = OnnxBackend(saved(as_onnx(mlp()), tmp_path))
    with pytest.raises(UsageError, match=r"shape \(5,\); model.onnx takes \(4,\)"):
        backend.scores(batch(2, 5))


def graph(inputs, outputs, nodes):
    def value(name, kind, shape):
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(nodes, "g", [value(*i) for i in inputs], [value(*o) for o in outputs])
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=10
    )


X = ("x", TensorProto.FLOAT, ["n", 4])
HARD = [helper.make_node("Hardmax", ["x"], ["s"], name="h")]
ID = [helper.make_node("Identity", ["x"], ["s"])]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            graph(
                [X, ("mask", TensorProto.FLOAT, ["n", 4])],
                [("s", TensorProto.FLOAT, ["n", 4])],
                [helper.make_node("Add", ["x", "mask"], ["s"])],
            ),
            r"2 inputs \(x, mask\)",
        ),
        (
            graph(
                [X],
                [("s", TensorProto.FLOAT, ["n", 4]), ("t", TensorProto.FLOAT, ["n", 4])],
                [*ID, helper.make_node("Neg", ["x"], ["t"])],
            ),
            "2 outputs could be scores",
        ),
        (
            graph(
                [X],
                [("s", TensorProto.INT64, ["n"])],
                [helper.make_node("ArgMax", ["x"], ["s"], axis=1, keepdims=0)],
            ),
            "no outputs could be scores",
        ),
        (
            graph([("x", TensorProto.UINT8, ["n", 4])], [("s", TensorProto.UINT8, ["n", 4])], ID),
            "cannot hold small perturbations",
        ),
    ],
)
def test_what_is_no_classifier_of_one_batch_is_refused(tmp_path, model, words):
    with pytest.raises(UsageError, match=words):
        OnnxBackend(saved(model, tmp_path))


def test_dictionaries_of_scores_come_with_the_remedy(tmp_path):
    zipmap = helper.make_node("ZipMap", ["x"], ["s"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3])
    model = graph([X], [], [zipmap])
    entry = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output.append(helper.make_value_info("s", helper.make_sequence_type_proto(entry)))
    with pytest.raises(UsageError, match="'zipmap': False"):
        OnnxBackend(saved(model, tmp_path))


def test_an_operator_nobody_knows_is_one_line(tmp_path):
    model = graph([X], [("s", TensorProto.FLOAT, ["n", 4])], [helper.make_node("Frobnicate", ["x"], ["s"])])
    with pytest.raises(CannotRun, match="onnxruntime cannot run it") as caught:
        OnnxBackend(saved(model, tmp_path))
    assert "\n" not in str(caught.value)


def test_without_the_packages_the_extra_is_named(tmp_path, monkeypatch):
    path = saved(as_onnx(mlp()), tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(CannotRun, match=r"pip install 'brinell\[onnx\]'"):
        OnnxBackend(path)
