"""Data meet a model: names of classes and columns, and the units of its box."""

import numpy as np
import pytest
import torch
from torch import nn

import brinell
from brinell import diagnose
from brinell.auditing import Plan
from brinell.data import Dataset
from brinell.errors import UsageError
from brinell.questions.evasion import check
from brinell.threat import Box


def table(features=("a", "b")) -> Dataset:
    return Dataset.of(np.array([[0.1, 0.9], [0.8, 0.2]]), [0, 1], features=features, source="t.csv")


class Named:
    """A classifier that was fitted on a frame."""

    classes_ = np.array([0, 1])
    feature_names_in_ = np.array(["b", "a"], dtype=object)

    def predict(self, rows):
        return (np.asarray(rows)[:, 0] < 0.5).astype(int)


def test_columns_are_matched_by_name() -> None:
    assert table().meeting(None, ("a", "b"), Box(0, 1)) is not None
    assert table().meeting(None, None, Box(0, 1)).features == ("a", "b")
    with pytest.raises(UsageError, match=r"t.csv: its columns are 'a', 'b'; put them in the order .*: 'b', 'a'"):
        table().meeting(None, ("b", "a"), Box(0, 1))
    with pytest.raises(UsageError, match=r"t.csv lacks 'c' and has 'b'; the model was fitted on 'a', 'c'"):
        table().meeting(None, ("a", "c"), Box(0, 1))


@pytest.mark.parametrize(
    "door",
    [
        lambda target, data: check(target, data),
        lambda target, data: brinell.audit(target, data, brinell.Threat(brinell.Linf(0.1))),
        lambda target, data: brinell.verify(target, data, brinell.Threat(brinell.Linf(0.1))),
        lambda target, data: diagnose(target, data, brinell.Threat(brinell.Linf(0.1))),
    ],
    ids=["check", "audit", "verify", "diagnose"],
)
def test_swapped_columns_pass_no_door(door) -> None:
    with pytest.raises(UsageError, match="put them in the order of the model's: 'b', 'a'"):
        door(brinell.target(Named()), table())


def test_nor_the_command_line(tmp_path, monkeypatch) -> None:
    from brinell.cli.sources import Sources

    (tmp_path / "t.csv").write_text("a,b,label\n0.1,0.9,0\n0.8,0.2,1\n")
    monkeypatch.setattr("brinell.cli.sources.load_target", lambda *args, **how: brinell.target(Named()))
    with pytest.raises(UsageError, match="put them in the order of the model's: 'b', 'a'"):
        Sources(model="m.py:build", data=str(tmp_path / "t.csv"), set="linf:0.1").load()


def test_pixels_are_left_as_they_are_where_the_box_is_in_their_units() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 4, 4), dtype=np.uint8)
    data = Dataset.of(pixels, np.arange(20) % 3)
    assert data.scaling == "uint8 / 255"
    assert data.meeting(None, None, Box(0, 1)) is data
    raw = data.meeting(None, None, Box(0, 255))
    assert raw.scaling is None
    assert torch.equal(raw.x, torch.from_numpy(pixels.astype(np.float32)))
    assert data.meeting(None, None, Box(-3, 3)) is data


def test_so_it_is_at_every_door() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 4, 4), dtype=np.uint8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    small, large = brinell.target(net, std=1 / 255), brinell.target(net, (0, 255))
    y = large.labels(torch.from_numpy(pixels).float())
    plan = Plan.model_validate({"name": "c", "stages": [{"engine": "Clean"}]})
    for target, radius in ((small, 1 / 255), (large, 1.0)):
        threat = brinell.Threat(brinell.Linf(radius))
        assert brinell.audit(target, (pixels, y), threat, plan).evasion.clean == 1
        codes = {f.code for f in check(target, Dataset.of(pixels, y))}
        assert ("pixels" in codes) == (target is small)
        assert "low-accuracy" not in codes
