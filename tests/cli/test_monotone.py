"""`brinell monotone MODEL TABLE --feature`: one answer a feature."""

import json

import pytest
from safetensors.torch import save_file

from cli.command import Command

NET = '''
import torch
from torch import nn


def build():
    """Rises with age, falls with calm, and with dose it rises and falls."""
    first, last = nn.Linear(3, 3), nn.Linear(3, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]))
        first.bias.copy_(torch.tensor([0.0, 0.0, -1.0]))
        last.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, -2.0]]))
        last.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), last)


def three():
    return nn.Sequential(build(), nn.Linear(2, 3))


def tree():
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier().fit([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]], [0, 1, 0])


def neighbours():
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1).fit([[0.0, 0, 0], [1.0, 1, 1]], [0, 1])
'''


@pytest.fixture
def table(tmp_path) -> tuple[str, str]:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "t.csv").write_text("age,calm,dose,label\n0,0,0,0\n2,1,2,1\n1,0.5,1,1\n")
    return str(tmp_path / "net.py"), str(tmp_path / "t.csv")


def test_each_feature_is_answered_and_a_counterexample_shown(brinell: Command, table) -> None:
    net, data = table
    words = ["monotone", f"{net}:build", data, "--box", "data", "--timeout", "20"]
    done = brinell(*words, "--feature", "age:+", "--feature", "calm:-")
    assert (done.code, done.out) == (0, "age:+ proved\ncalm:- proved\n")
    done = brinell(*words, "--feature", "age:+1", "--feature", "dose:+", "--feature", "age:+0")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0] == "age:+1 proved"
    assert lines[1] == "dose:+ refuted"
    assert lines[2].startswith("  dose from ")
    assert "age=" in lines[2]
    assert lines[3].startswith("  scores from (")
    assert lines[4] == "age:+0 refuted"


def test_as_json_the_pair_has_every_feature(brinell: Command, table) -> None:
    net, data = table
    done = brinell("monotone", f"{net}:build", data, "--box", "data", "--feature", "dose:+", "--json")
    (found,) = json.loads(done.out)
    assert (done.code, found["verdict"]) == (1, "refuted")
    before, after = found["pair"]
    assert before["x"].keys() == {"age", "calm", "dose"}
    assert before["x"]["dose"] < after["x"]["dose"]
    assert before["scores"][1] > after["scores"][1]


@pytest.mark.parametrize(
    ("factory", "words", "said"),
    [
        ("build", ["--feature", "weight:+"], "there is no feature 'weight'; there are age, calm, dose"),
        ("build", ["--feature", "age"], "write e.g. age:+"),
        ("build", ["--feature", "age:+7"], "the classes are 0 to 1"),
        ("three", ["--feature", "age:+"], "3 classes; name one of them, e.g. age:+0"),
        ("build", ["--feature", "age:+", "--set", "linf:1"], "No such option: --set"),
        ("neighbours", ["--feature", "age:+"], "is not among the ensembles"),
    ],
)
def test_what_cannot_be_asked_is_one_line(brinell: Command, table, factory, words, said) -> None:
    net, data = table
    done = brinell("monotone", f"{net}:{factory}", data, "--box", "data", *words)
    assert done.code in (2, 3)
    assert done.out == ""
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_trees_are_decided_too(brinell: Command, table) -> None:
    net, data = table
    done = brinell("monotone", f"{net}:tree", data, "--box", "data", "--feature", "calm:+", "--feature", "age:+")
    lines = done.out.splitlines()
    assert (done.code, lines[:2]) == (1, ["calm:+ proved", "age:+ refuted"])
    assert lines[2].startswith("  age from 1.5")


def test_examples_outside_the_box_are_not_passed_over(brinell: Command, table) -> None:
    net, data = table
    done = brinell("monotone", f"{net}:build", data, "--feature", "age:+")
    assert done.code == 2
    assert "leave the box [0.0, 1.0]" in done.err


def test_weights_that_are_no_numbers_are_named(brinell: Command, table, tmp_path) -> None:
    import torch

    net, data = table
    weights = {"0.weight": torch.full((3, 3), torch.nan), "0.bias": torch.zeros(3)}
    weights |= {"2.weight": torch.zeros(2, 3), "2.bias": torch.zeros(2)}
    save_file(weights, tmp_path / "nan.safetensors")
    words = [f"{net}:build", data, "--weights", tmp_path / "nan.safetensors", "--box", "data"]
    for asked in (["monotone", "--feature", "age:+"], ["verify", "--set", "linf:0.1"]):
        done = brinell(*asked, *words)
        assert done.code in (3, 4)
        assert "NaN" in done.err or "finite" in done.err
