import sys

import pytest
from sklearn.datasets import load_digits

from brinell.data import load
from brinell.errors import MissingExtra, UsageError


def test_the_parts_are_the_first_thousand_and_the_rest() -> None:
    train, test = load("digits:train"), load("digits")
    assert (len(train), len(test)) == (1000, 797)
    assert [*train.ids.tolist(), *test.ids.tolist()] == list(range(1797))


def test_values_are_sixteenths_of_the_source() -> None:
    data, bunch = load("digits"), load_digits()
    assert data.x.shape == (797, 1, 8, 8)
    assert (data.x[:, 0].numpy() * 16 == bunch.images[1000:]).all()
    assert (data.y.numpy() == bunch.target[1000:]).all()
    assert (float(data.x.min()), float(data.x.max())) == (0.0, 1.0)
    assert data.classes == tuple("0123456789")
    assert data.scaling == "values / 16"
    assert data.source == "digits"


def test_another_part_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'digits:test'; it has the parts digits .* and digits:train"):
        load("digits:test")


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match=r"scikit-learn is not installed.*brinell\[sklearn\]"):
        load("digits")
