import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from cli.command import Command, model_files


def words(folder: Path) -> list[object]:
    model, data = model_files(folder, 60)
    return [model, data, "--weights", folder / "net.safetensors"]


def test_figures_go_to_stdout_and_progress_to_stderr(brinell: Command, tmp_path: Path) -> None:
    done = brinell("attack", "PGD", *words(tmp_path), "--set", "linf:0.05", "--setting", "steps=5", "--json")
    assert done.code == 0
    figures = json.loads(done.out)
    assert figures["engine"] == "PGD(steps=5)"
    assert figures["n"] == 60
    assert "of 60 broken" in done.err
    shown = brinell("attack", "PGD", *words(tmp_path), "--threat", "linf:0.05", "-s", "steps=5")
    assert "success on what was right" in shown.out


def test_an_infinite_radius_gives_the_curve(brinell: Command, tmp_path: Path) -> None:
    done = brinell("attack", "FAB", *words(tmp_path), "--set", "l2:inf", "-s", "steps=5", "--json")
    assert len(json.loads(done.out)["curve"]["distances"]) > 50
    assert "accuracy" in brinell("attack", "FAB", *words(tmp_path), "--set", "l2:inf", "-s", "steps=5").out


def test_witnesses_are_kept_in_either_format(brinell: Command, tmp_path: Path) -> None:
    kept = []
    for name, read in (("w.npz", lambda p: dict(np.load(p))), ("w.safetensors", load_file)):
        assert brinell("attack", "PGD", *words(tmp_path), "--set", "linf:0.05", "--save", name).code == 0
        kept.append(read(tmp_path / name))
    assert kept[0].keys() == kept[1].keys() == {"x", "x0", "y", "id", "distance"}
    assert all(np.array_equal(kept[0][k], kept[1][k]) for k in kept[0])
    assert np.abs(kept[0]["x"] - kept[0]["x0"]).max() <= 0.05 + 1e-6


def test_what_cannot_be_right_is_refused_in_one_line(brinell: Command, tmp_path: Path) -> None:
    own = words(tmp_path)
    for more, says in (
        (["PGD", *own, "--set", "linf:inf"], "needs a finite radius"),
        (["PGD", *own, "--set", "linf:0.1,0.2"], "has 2 radii"),
        (["PGD", *own, "--set", "linf:0.1", "-s", "stpes=3"], "no setting 'stpes'"),
        (["PGD", *own, "--set", "linf:0.1", "-s", "steps"], "is not understood"),
        (["PGD", *own, "--set", "linf:0.1", "--save", "w.pt"], "neither .npz nor .safetensors"),
        (["Nobody", *own, "--set", "linf:0.1"], "is not known"),
        (["IBP", *own, "--set", "linf:0.1"], "is a proof"),
        (["UAP", *own, "--set", "linf:0.1"], "UAP learns from examples before anything is attacked"),
    ):
        done = brinell("attack", *more)
        assert (done.code, done.out) == (2, "")
        assert says in done.err
        assert done.err.strip().count("\n") == 0


def test_a_diagnosis_leaves_with_its_verdict(brinell: Command, tmp_path: Path) -> None:
    honest = brinell("diagnose", *words(tmp_path), "--set", "linf:0.03", "--json")
    assert honest.code == 0
    assert "masked" in json.loads(honest.out)["checks"]
    blind = "from net import build as inner\nfrom torch import nn\n\nclass Blind(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.inner = inner()\n\n    def forward(self, x):\n        return self.inner((x * 8).round() / 8)\n"  # noqa: E501
    (tmp_path / "blind.py").write_text(
        (tmp_path / "net.py").read_text().replace("build", "inner") + blind.split("\n", 1)[1]
    )
    _, data, *_ = words(tmp_path)
    done = brinell("diagnose", f"{tmp_path / 'blind.py'}:Blind", data, "--set", "linf:0.03")
    assert done.code == 4
    assert "zero-gradients" in done.out
