from pathlib import Path

import pytest

from brinell.cli.sources import Sources, absolute, default_set
from brinell.errors import UsageError
from brinell.threat import L2, LEAST_LIKELY, UNTARGETED, Access, Linf, Targeted
from questions.runs import network


def sources(**options: object) -> Sources:
    return Sources.model_validate({"model": "digits", "data": "digits", "set": "linf:0.1", **options})


@pytest.mark.parametrize(
    ("text", "kind", "radii"),
    [
        ("linf:8/255", Linf, (8 / 255,)),
        ("linf:0.1,0.02,0.1", Linf, (0.02, 0.1)),
        ("l2:0.5, 1/4", L2, (0.25, 0.5)),
        ("linf:0", Linf, (0.0,)),
    ],
)
def test_a_set_is_a_name_and_radii(text, kind, radii):
    found, asked = sources(set=text).sets()
    assert found == kind(radii[-1])
    assert asked == radii


def test_goals_are_words_or_a_class():
    assert sources().goals() == UNTARGETED
    assert sources(goal="least-likely").goals() == LEAST_LIKELY
    assert sources(goal="3").goals() == Targeted(3)


def test_the_sample_is_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr("brinell.demo.digits_network", lambda: network(64, 10))
    (few, target), (same, _), (other, _) = (sources(n=30, seed=s, balanced=True).load() for s in (0, 0, 1))
    assert few.digest == same.digest != other.digest
    assert few.y.bincount().tolist() == [3] * 10
    assert target.access is Access.WEIGHTS
    assert sources(access="labels", n=3).load()[1].access is Access.LABELS


def test_options_are_read_back_as_they_were_given():
    given = sources(n=3, balanced=True, box="0,1", seed=2)
    assert Sources.model_validate_json(given.model_dump_json()) == given


def test_only_the_embedded_model_has_radii_of_its_own():
    assert default_set("digits").startswith("linf:")
    with pytest.raises(UsageError, match="--set is missing"):
        default_set("net.onnx")


def test_names_of_files_do_not_depend_on_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.npz").touch()
    (tmp_path / "digits").mkdir()
    assert absolute("data.npz") == str(tmp_path / "data.npz")
    assert absolute("net.py:build") == f"{tmp_path / 'net.py'}:build"
    assert absolute("package.module:build") == "package.module:build"
    assert absolute("none.onnx") == "none.onnx"
    assert absolute("digits") == "digits"  # the word; a folder of that name is ./digits
    assert absolute("digits:train") == "digits:train"
    assert Path(absolute("./digits")) == tmp_path / "digits"
