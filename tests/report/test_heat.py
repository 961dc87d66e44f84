"""A heat map of shares."""

from pathlib import Path

import pytest

from brinell.errors import UsageError
from brinell.report.heat import check_picture, heat_map, picture


def drawn(rows: list[str], columns: list[str], shares: list[list[float]]) -> str:
    return picture(heat_map(rows, columns, shares, "shown to", "crafted on"), Path("map.svg")).decode()


def test_every_share_is_written_in_its_cell() -> None:
    text = drawn(["a", "b"], ["c", "d", "e"], [[0.0, 0.25, 0.5], [0.75, 1.0, float("nan")]])
    for said in ("0 %", "25 %", "50 %", "75 %", "100 %", "n/a"):
        assert text.count(f">{said}<") == 1
    assert text.index(">25 %<") < text.index(">75 %<")


def test_names_cannot_act() -> None:
    text = drawn(["z", "<b>\x1b[31ma\n"], ["y", "x"], [[0.1, 0.2], [0.3, 0.4]])
    assert "\x1b" not in text
    assert "<b>" not in text
    assert "&lt;b&gt;a" in text


@pytest.mark.parametrize("name", ["map.pdf", "map", "map.svg.txt"])
def test_other_formats_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"neither \.png nor \.svg"):
        check_picture(Path(name))
