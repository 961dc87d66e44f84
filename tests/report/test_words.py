"""How numbers and other people's strings are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brinell.evidence import Soundness
from brinell.questions.evasion.page.words import arithmetic
from brinell.questions.evasion.summary import RadiusResult
from brinell.report.words import duration, line, number, percent, plain


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.41249, "41.2 %"),
        (0.0001, "<0.1 %"),
        (0.99999, ">99.9 %"),
        (0.0005, "0.1 %"),
    ],
)
def test_a_fraction_is_never_rounded_to_all_or_nothing(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(8 / 255, "8/255"), (0.1, "0.1"), (0.2, "0.2"), (0.0, "0"), (0.5, "0.5"), (1.0, "1"), (2, "2")]
)
def test_a_radius_is_written_as_people_write_it(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.53, "9.5 s"), (59.97, "1 min 0 s"), (125, "2 min 5 s"), (4325, "1 h 12 min")],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07shell", "shell"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x08b\x00c\x7f", "abc"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\u2066x\u2069", "x"),
        ("שלום", "שלום"),
        ("two\nlines", "two\nlines"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("\x1b", ""),
    ],
)
def test_what_acts_is_taken_out_and_what_reads_stays(text: str, left: str) -> None:
    assert plain(text) == left


@given(st.text(alphabet=st.characters(codec=None)))
def test_nothing_is_left_that_acts(text: str) -> None:
    left = plain(text)
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in left)
    left.encode()
    assert plain(left) == left
    assert "\n" not in line(text)


def test_certificates_are_told_apart_by_what_they_assume_of_arithmetic() -> None:
    figures = {"certified": 0.5, "unbroken": 1.0, "open": 0.5, "errors": 0, "counts": {}}
    edges = {"certified_interval": (0.0, 1.0), "unbroken_interval": (0.0, 1.0)}
    some = {"float32-any-order": 1200, "float64-any-order": 0, "real": 3}
    told = arithmetic(RadiusResult(set="linf", radius=0.1, soundness=some, **figures, **edges))
    assert told.startswith("Of 1,203 certificates at linf 0.1: 1,200 hold for the model as float32 computes it")
    assert told.endswith("; 3 hold in exact arithmetic, and say nothing of rounding.")
    assert "float64" not in told
    assert arithmetic(RadiusResult(set="linf", radius=0.1, **figures, **edges)) == ""
    strict = arithmetic(RadiusResult(set="linf", radius=0.1, soundness=some, **figures, **edges), Soundness.FLOAT32)
    assert strict.endswith("; 3 hold in exact arithmetic, and say nothing of rounding, and so count as open.")
    assert strict.count("count as open") == 1
