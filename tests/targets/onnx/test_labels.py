"""A file that decides for itself: its output of labels counts, whatever the largest of its scores is."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper

import brinell
from brinell.data import Dataset, load
from brinell.errors import UsageError
from brinell.questions.evasion import check

X = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
TRUTH = (X[:, 0] > X[:, 1]).long()


def classifier(path, names: list[int] | list[str], upside_down: bool) -> str:
    """A linear classifier whose scores may be negated, as those of some converters are."""
    text = isinstance(names[0], str)
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "raw"],
            domain="ai.onnx.ml",
            coefficients=[-1.0, 1.0, 1.0, -1.0],
            intercepts=[0.0, 0.0],
            **{"classlabels_strings" if text else "classlabels_ints": names},
        ),
        helper.make_node("Neg" if upside_down else "Identity", ["raw"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING if text else TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2]),
        ],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), path)
    return str(path)


@pytest.mark.parametrize("names", [[0, 1], [7, 3], ["no", "yes"]], ids=str)
@pytest.mark.parametrize("upside_down", [False, True])
def test_the_label_that_the_file_answers_is_its_decision(tmp_path, names, upside_down) -> None:
    target = brinell.load(classifier(tmp_path / "m.onnx", names, upside_down))
    assert target.classes == tuple(map(str, names))
    assert torch.equal(target.labels(X), TRUTH)
    assert torch.equal(target.scores(X).argmax(1), 1 - TRUTH if upside_down else TRUTH)
    severe = {f.code for f in check(target, Dataset(X, TRUTH, torch.arange(40))) if f.severity == "severe"}
    assert severe == ({"scores-disagree"} if upside_down else set())


def test_examples_are_matched_by_the_names_of_the_file(tmp_path) -> None:
    target = brinell.load(classifier(tmp_path / "m.onnx", ["yes", "no"], False))
    words = ["no" if y else "yes" for y in TRUTH.tolist()]
    rows = ["a,b,label", *(f"{a},{b},{word}" for (a, b), word in zip(X.tolist(), words, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    data = load(tmp_path / "t.csv").meeting(target.classes, target.features, target.box)
    assert data.classes == ("yes", "no")
    assert torch.equal(data.y, TRUTH)
    assert torch.equal(target.labels(data.x), data.y)


def test_a_class_that_the_data_has_and_the_file_lacks_is_named(tmp_path) -> None:
    target = brinell.load(classifier(tmp_path / "m.onnx", ["no", "yes"], False))
    data = Dataset.of(X, TRUTH, classes=("maybe", "yes"))
    with pytest.raises(UsageError, match="the model has no class 'maybe'"):
        brinell.audit(target, data, brinell.Threat(brinell.Linf(0.1)))
