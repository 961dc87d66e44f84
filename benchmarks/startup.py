"""What a person waits for: the help text, and the first audit."""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.figure import Figure, clock

BRINELL = Path(sys.executable).with_name("brinell")


def run() -> list[Figure]:
    """Whole processes, wall time."""
    helps = [clock(lambda: _run("--help"))[0] for _ in range(7)][2:]
    with tempfile.TemporaryDirectory() as folder:
        audit, _ = clock(lambda: _run("audit", "digits", "--out", f"{folder}/run"))
    return [
        Figure("`brinell --help`, median of 5", "< 0.5 s", f"{median(helps):.2f} s"),
        Figure("`brinell audit digits`, from installed to report.html", "< 60 s", f"{audit:.1f} s"),
    ]


def _run(*arguments: str) -> None:
    subprocess.run([BRINELL, *arguments], check=True, capture_output=True)
