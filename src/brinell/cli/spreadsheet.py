"""The radii of a run, one line an example, for a spreadsheet."""

import csv
from pathlib import Path

from brinell import Audit


def write_radii(file: Path, run: Audit) -> None:
    """row, label, certified up to, broken from. A radius is empty where nothing was shown."""
    lines = [
        (row, reach.label, _number(reach.certified), _number(reach.broken))
        for row, reach in zip(run.ids, run.reaches, strict=True)
    ]
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("row", "label", "certified_up_to", "broken_from"))
        writer.writerows(lines)


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
