"""`brinell transfer`: several models, one set of examples."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import skops.io
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from brinell.evasion.transfer import matrix
from brinell.targets import target
from brinell.threat import Linf, Threat
from cli.command import Command, model_files
from questions.runs import network

FOREST = (
    "import numpy as np\nfrom sklearn.tree import DecisionTreeClassifier\n\n\ndef build():\n"
    "    z = np.load('data.npz')\n    return DecisionTreeClassifier(max_depth=4, random_state=0).fit(z['x'], z['y'])\n"
)


@pytest.fixture
def models(tmp_path: Path) -> list[object]:
    """The words that name four models and their data."""
    model, data = model_files(tmp_path, 80)
    save_file(network(seed=5).state_dict(), tmp_path / "other.safetensors")
    z = np.load(data)
    skops.io.dump(LogisticRegression().fit(z["x"], z["y"]), tmp_path / "lr.skops")
    (tmp_path / "tree.py").write_text(FOREST)
    return [
        *(f"net={model}", f"other={model}", "lr.skops", "tree.py:build", data),
        *("--weights", "net=net.safetensors", "--weights", "other=other.safetensors", "--set", "linf:0.1"),
    ]


def test_who_fools_whom_is_the_matrix_of_the_library(brinell: Command, models, tmp_path: Path) -> None:
    done = brinell("transfer", *models, "--json")
    assert done.code == 0
    figures = json.loads(done.out)
    assert [m["name"] for m in figures["models"]] == ["net", "other", "lr", "tree"]
    assert [m["access"] for m in figures["models"]] == ["weights", "weights", "scores", "scores"]
    assert done.err.count("crafting 80 examples on") == 4
    z = np.load(tmp_path / "data.npz")
    own = {"net": target(network()), "other": target(network(seed=5))}
    by_hand = matrix(own, torch.from_numpy(z["x"]), torch.from_numpy(z["y"]), Threat(Linf(0.1)))
    cells = {(c["source"], c["target"]): c["fooled"] for c in figures["cells"]}
    assert len(cells) == 16
    for cell in by_hand.cells:
        told = cells[cell.source, cell.target]
        assert (told["count"], told["of"]) == (cell.fooled.count, cell.fooled.of)
        assert told["interval"] == list(cell.fooled.interval)


def test_the_table_says_counts_intervals_and_access(brinell: Command, models) -> None:
    done = brinell("transfer", *models)
    assert done.code == 0
    for words in ("linf 0.1, untargeted", "crafted on", "right as they are", "of 80", "access", "weights", "scores"):
        assert words in done.out


@pytest.mark.parametrize("name", ["who.svg", "who.png"])
def test_the_heat_map_is_a_picture_of_every_pair(brinell: Command, models, tmp_path: Path, name: str) -> None:
    assert brinell("transfer", *models, "--picture", name).code == 0
    content = (tmp_path / name).read_bytes()
    if name.endswith("png"):
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert min(width, height) > 4 * 64
    else:
        text = content.decode()
        assert text.startswith("<svg")
        assert text.count(" %<") == 16
        assert all(f">{word}<" in text for word in ("net", "other", "lr", "tree", "crafted on", "shown to"))


def test_the_embedded_model_can_be_one_of_them(brinell: Command, tmp_path: Path) -> None:
    (tmp_path / "line.py").write_text(
        "from torch import nn\n\n\ndef build():\n    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "    nn.init.zeros_(net[1].weight)\n    return net\n"
    )
    done = brinell("transfer", "digits", "line.py:build", "digits", "--set", "linf:0.1", "--n", "40", "--json")
    assert done.code == 0
    assert [m["name"] for m in json.loads(done.out)["models"]] == ["digits", "line"]


def test_a_goal_with_an_aim_counts_who_says_it(brinell: Command, models, tmp_path: Path) -> None:
    z = np.load(tmp_path / "data.npz")
    np.savez(tmp_path / "some.npz", x=z["x"][z["y"] != 1], y=z["y"][z["y"] != 1])
    words = [word if not str(word).endswith("data.npz") else "some.npz" for word in models]
    done = brinell("transfer", *words, "--goal", "1", "--json")
    assert done.code == 0
    assert json.loads(done.out)["threat"] == "linf 0.1, targeted at 1"


def test_what_cannot_be_right_is_refused_in_one_line(brinell: Command, models, tmp_path: Path) -> None:
    (tmp_path / "raising.py").write_text(
        "from torch import nn\n\n\nclass Raising(nn.Module):\n    def forward(self, x):\n"
        "        raise ValueError('no')\n\n\ndef build():\n    return Raising()\n"
    )
    data = next(word for word in models if str(word).endswith("data.npz"))
    few = ["lr.skops", "tree.py:build", data]
    for words, code, says in (
        (["lr.skops", data, "--set", "linf:0.1"], 2, "1 model given; name at least 2"),
        ([data, "--set", "linf:0.1"], 2, "0 model given"),
        (["lr.skops", "lr.skops", data, "--set", "linf:0.1"], 2, "two models are called 'lr'"),
        (["=lr.skops", "tree.py:build", data, "--set", "linf:0.1"], 2, "is not understood; write MODEL, or NAME=MODEL"),
        ([*few], 2, "--set is missing"),
        ([*few, "--set", "linf:0.1,0.2"], 2, "must have one finite radius"),
        ([*few, "--set", "linf:inf"], 2, "must have one finite radius"),
        ([*few, "--set", "linf:9"], 2, "radius 9 is larger than the box"),
        ([*few, "--set", "linf:0.1", "--picture", "who.pdf"], 2, "neither .png nor .svg"),
        ([*few, "--set", "linf:0.1", "--weights", "net.safetensors"], 2, "write NAME=FILE with a name of lr, tree"),
        ([*few, "--set", "linf:0.1", "--weights", "lr=net.safetensors"], 2, "weights"),
        (["lr.skops", "raising.py:build", data, "--set", "linf:0.1"], 2, "raises on every example"),
        (["lr.skops", "nothing.skops", data, "--set", "linf:0.1"], 2, "there is no such file"),
    ):
        done = brinell("transfer", *words)
        assert (done.code, done.out) == (code, ""), (words, done.err)
        assert says in done.err
        assert done.err.strip().splitlines()[-1].startswith("brinell: ")
