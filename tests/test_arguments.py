"""Arguments of the wrong kind are refused in a sentence, at every public door."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

import brinell
from brinell.arguments import Count, Fraction, Positive, a_kind, broken_limits, fits
from brinell.errors import UsageError
from brinell.evasion import PGD
from brinell.types import Inputs
from models import relu_net

X = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
TARGET = brinell.target(relu_net((4,)))
Y = TARGET.labels(X)
THREAT = brinell.Threat(brinell.Linf(0.1))


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, True),
        (np.float32(1), float, True),
        (np.int64(1), int, True),
        (True, int, False),
        (2**63, int, False),
        (1.0, int, False),
        ("1", float, False),
        (None, float | None, True),
        ([1.0], Sequence[float], True),
        (np.zeros(2), Sequence[float], True),
        (np.zeros((2, 2)), Sequence[float], False),
        ("ab", Sequence[str], False),
        (["a", 1], Sequence[str], False),
        ((1, "a"), tuple[int, str], True),
        ((1,), tuple[int, str], False),
        ((1, 2, 3), tuple[int, ...], True),
        ({"a": 1}, Mapping[str, int], True),
        ({"a": "b"}, Mapping[str, int], False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (len, Callable[[], None], True),
        (3, Callable[[], None], False),
        (int, type[int], True),
        (torch.zeros(2, 2), Inputs, True),
        (np.zeros((2, 2)), Inputs, False),
        (object(), Any, True),
    ],
)
def test_a_value_fits_what_an_annotation_names(value, hint, expected) -> None:
    assert fits(value, hint) is expected


@pytest.mark.parametrize(
    ("value", "hint", "broken"),
    [
        (1, Count, ""),
        (0, Count, "at least 1"),
        (None, Count | None, ""),
        (0, Count | None, "at least 1"),
        (float("nan"), Positive, "more than 0"),
        (1.0, Fraction, "more than 0, less than 1"),
        ((0.5, 1.0), tuple[Fraction, Fraction], "more than 0, less than 1"),
        ((0.5, 0.5), tuple[Fraction, Fraction], ""),
        (-1.0, float, ""),
    ],
)
def test_a_value_keeps_to_the_limits_of_its_annotation(value, hint, broken) -> None:
    assert ", ".join(map(str, broken_limits(value, hint))) == broken


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: brinell.attack(PGD(), nn.Linear(4, 3), X, Y, THREAT), "target is a Linear; make it one: brinell.targ"),
        (lambda: brinell.attack(PGD, TARGET, X, Y, THREAT), "attack is an ABCMeta|attack is the class PGD; give an"),
        (lambda: brinell.attack(PGD(), TARGET, X.numpy(), Y, THREAT), "x is a ndarray; attack takes a tensor"),
        (lambda: brinell.attack(PGD(), TARGET, X, Y.tolist(), THREAT), "y is a list; attack takes a tensor"),
        (lambda: brinell.attack(PGD(), TARGET, X, Y.float(), THREAT), "y holds torch.float32 values"),
        (lambda: brinell.attack(PGD(), TARGET, X, Y, brinell.Linf(0.1)), "threat is a Linf; make it one: brinell.Thr"),
        (lambda: brinell.attack(PGD(), TARGET, X[:, :3], Y, THREAT), r"raises on every example, of shape \(3,\): Runt"),
        (lambda: brinell.attack(PGD(), TARGET, X.half(), Y, THREAT), "x holds torch.float16 values"),
        (lambda: brinell.audit(TARGET, X, THREAT), "data is a Tensor; give"),
        (lambda: brinell.audit(TARGET, (X, Y), THREAT, seed="a"), "seed is 'a'; audit takes a whole number"),
        (lambda: brinell.verify(TARGET, (X, Y), THREAT, radii=0.1), "radii is 0.1; verify takes"),
        (lambda: brinell.Targeted([1]), "target is a list; Targeted takes a whole number"),
        (lambda: brinell.Targeted(-1), "target class is -1"),
        (lambda: brinell.Linf("8/255"), "radius is '8/255'; Linf takes a number"),
        (lambda: brinell.Threat(0.1), "set is 0.1; give a perturbation set"),
        (lambda: PGD(steps="a"), "steps is 'a'; PGD takes a whole number"),
        (lambda: brinell.Target(nn.Linear(4, 3), brinell.Box(0, 1)), "backend is a Linear; Target takes a Backend"),
        (lambda: TARGET.scores(X.numpy()), "x is a ndarray; give a tensor"),
        (lambda: TARGET.restrict("labels"), "access is 'labels'; Target.restrict takes an Access"),
        (lambda: brinell.Dataset.of({}, Y), "x is a dict; Dataset.of takes"),
    ],
)
def test_a_wrong_kind_is_one_sentence(call, sentence) -> None:
    with pytest.raises(UsageError, match=sentence) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_box_may_be_given_in_whole_numbers() -> None:
    assert brinell.Box(0, 1) == brinell.Box(0.0, 1.0)
    assert brinell.Box(np.float32(0), 1).width == 1


def test_what_is_named_is_short() -> None:
    assert a_kind([]) == "a list"
    assert a_kind("x" * 100) == "a str"
    assert a_kind(np.zeros(1)) == "a ndarray"
    assert a_kind(int) == "the class int"
