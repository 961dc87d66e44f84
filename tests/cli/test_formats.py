"""From files as people keep them to a bracket and a page."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import skops.io
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from brinell import Audit
from questions.runs import examples, network

NAMES = np.array(["fig", "pear", "apple"])


def table(path: Path, labels: "np.ndarray | None" = None, scale: float = 1.0) -> Path:
    """The small network's examples as a CSV, with words for labels."""
    x, y = examples(network(), 90)
    words = NAMES[y.numpy()] if labels is None else labels[y.numpy()]
    rows = [",".join([*map(repr, (scale * row).tolist()), word]) for row, word in zip(x, words, strict=True)]
    path.write_text("\n".join([",".join([*(f"f{i}" for i in range(8)), "fruit"]), *rows]) + "\n")
    return path


def fitted(estimator: object, scale: float = 1.0) -> object:
    x, y = examples(network(), 400, seed=7)
    return estimator.fit(scale * x.numpy(), NAMES[y.numpy()])  # type: ignore[attr-defined]


def audited(brinell, *words: object) -> Audit:
    done = brinell("audit", *words, "--out", "run", "--json")
    assert done.code == 0, done.err
    assert "<html" in Path("run/report.html").read_text()
    assert json.loads(done.out)["status"] == "complete"
    audit = Audit.open("run")
    for r in audit.evasion.radii:
        assert r.certified <= r.unbroken <= audit.evasion.clean
    return audit


FOREST = """
from sklearn.ensemble import RandomForestClassifier
from cli.test_formats import fitted


def build():
    return fitted(RandomForestClassifier(10, random_state=0), 50.0)
"""


@pytest.mark.sweep(2)
@pytest.mark.parametrize("model", ["model.skops", "forest.py:build"])
def test_an_estimator_with_words_for_classes_and_a_table(brinell, model, tmp_path):
    skops.io.dump(fitted(LogisticRegression(max_iter=500), 50.0), tmp_path / "model.skops")
    (tmp_path / "forest.py").write_text(FOREST)
    table(tmp_path / "data.csv", scale=50.0)
    audit = audited(
        brinell, model, "data.csv", "--label", "fruit", "--box", "data", "--set", "linf:1,5", "--plan", "quick"
    )
    assert {c.name for c in audit.evasion.classes} == set(NAMES)
    assert audit.evasion.clean > 0.7
    assert audit.bracket.broken_count > 0
    assert {e.family for e in audit.evasion.engines} <= {"none", "random", "score"}
    assert any("IBP() left out" in note for note in audit.result.notes)


def test_a_table_with_a_class_the_model_lacks_is_refused(brinell, tmp_path):
    skops.io.dump(fitted(LogisticRegression()), tmp_path / "model.skops")
    table(tmp_path / "data.csv", np.array(["fig", "pear", "plum"]))
    done = brinell("audit", "model.skops", "data.csv", "--label", "fruit", "--set", "linf:0.1")
    assert done.code == 2
    assert "no class 'plum'" in done.err


@pytest.mark.slow
def test_the_box_of_the_data_does_not_change_with_the_sample(brinell, tmp_path):
    skops.io.dump(fitted(LogisticRegression()), tmp_path / "model.skops")
    table(tmp_path / "data.csv")
    words = ("audit", "model.skops", "data.csv", "--label", "fruit", "--box", "data", "--set", "linf:0.05")
    for n in (20, 40):
        assert brinell(*words, "--plan", "quick", "--n", n, "--out", f"n{n}").code == 0
    assert {d["n"] for d in json.loads(brinell("compare", "n20", "n40", "--json").out)} == {20}


def test_labels_only(brinell, tmp_path):
    skops.io.dump(fitted(LogisticRegression()), tmp_path / "model.skops")
    table(tmp_path / "data.csv")
    audit = audited(
        brinell,
        "model.skops",
        "data.csv",
        "--label",
        "fruit",
        "--set",
        "l2:0.3",
        "--access",
        "labels",
        "--plan",
        "quick",
    )
    assert {e.engine.partition("(")[0] for e in audit.evasion.engines} == {"Clean", "Noise"}


def test_a_network_and_a_table_in_float64(brinell, tmp_path):
    (tmp_path / "net.py").write_text("from questions.runs import network as build\n")
    table(tmp_path / "data.csv", np.array(["0", "1", "2"]))
    audit = audited(brinell, "net.py:build", "data.csv", "--label", "fruit", "--set", "linf:0.02", "--plan", "quick")
    assert audit.bracket.certified_count > 0


def arrays(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = examples(network(), 60)
    np.savez(path, x=x.numpy(), y=y.numpy())
    return x, y


def write_onnx(path: Path) -> None:
    net = network()
    names = {"w0": net[1].weight, "b0": net[1].bias, "w1": net[3].weight, "b1": net[3].bias}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w0", "b0"], ["h"], transB=1),
            helper.make_node("Relu", ["h"], ["a"]),
            helper.make_node("Gemm", ["a", "w1", "b1"], ["scores"], transB=1),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(p.detach().numpy(), name) for name, p in names.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_an_onnx_file(brinell, tmp_path):
    write_onnx(tmp_path / "net.onnx")
    x, y = arrays(tmp_path / "data.npz")
    audit = audited(brinell, "net.onnx", "data.npz", "--set", "linf:0.05", "--plan", "quick")
    assert audit.evasion.clean_count == (int((network()(x).argmax(1) == y).sum()), 60)
    assert audit.bracket.broken_count > 0


def test_an_exported_program(brinell, tmp_path):
    x, _ = arrays(tmp_path / "data.npz")
    batch = {"input": {0: torch.export.Dim("batch")}}
    torch.export.save(torch.export.export(network(), (x[:2],), dynamic_shapes=batch), tmp_path / "net.pt2")
    audit = audited(brinell, "net.pt2", "data.npz", "--set", "linf:0.05", "--plan", "quick")
    assert audit.bracket.broken_count > 0
    assert audit.bracket.certified_count > 0


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("goal", "said"), [("1", "targeted at 1"), ("least-likely", "least likely class")])
def test_goals(brinell, tmp_path, goal, said):
    (tmp_path / "net.py").write_text("from questions.runs import network as build\n")
    arrays(tmp_path / "data.npz")
    done = brinell(
        "audit", "net.py:build", "data.npz", "--set", "linf:0.05", "--plan", "quick", "--goal", goal, "--out", "run"
    )
    assert done.code == 0, done.err
    assert Audit.open("run").evasion.goal == said
    assert said in Path("run/report.html").read_text()


@pytest.mark.slow
def test_a_binary_classifier_in_l2_with_a_scale(brinell, tmp_path):
    (tmp_path / "net.py").write_text(
        "from questions.runs import network\n\n\ndef build():\n    return network(classes=2)\n"
    )
    x, y = examples(network(classes=2), 60)
    np.savez(tmp_path / "data.npz", x=2 * x.numpy() + 3, y=y.numpy())
    audit = audited(
        brinell, "net.py:build", "data.npz", "--set", "l2:0.1,0.4", "--plan", "quick",
        "--box", "3,5", "--mean", "3", "--std", "2",
    )  # fmt: skip
    assert audit.evasion.clean > 0.8
    assert audit.bracket.broken_count > 0
    assert audit.bracket.certified_count > 0


@pytest.mark.slow
def test_the_embedded_network(brinell):
    audit = audited(brinell, "digits", "--n", "60", "--balanced", "--plan", "quick")
    assert audit.radii == (0.02, 0.05, 0.1)
    assert audit.evasion.clean > 0.8
    assert {c.n for c in audit.evasion.classes} == {6}
